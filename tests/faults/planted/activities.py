"""Bugs in the life of an activity."""

from typing import Any

import msgspec

from services.lifecycle.domain.held import unchanged
from tests.faults import planting
from tests.faults.planted import bug
from tests.faults.planting import every


@bug("version-not-checked", "If-Match is not compared", "I3")
def _version_not_checked() -> None:
    planting.replace("services.lifecycle.api.callers:Caller.match", lambda old: lambda self, held: None)


@bug("append-lost", "every third addition is answered and not added", "I1")
def _append_lost() -> None:
    third = every(3)

    def append(old: Any) -> Any:
        def appending(held: Any, *arguments: Any, **more: Any) -> Any:
            logged = held is not None and held.activity.logged_at is not None
            return unchanged(held) if logged and third() else old(held, *arguments, **more)

        return appending

    planting.replace("services.lifecycle.domain.life:append", append)


@bug("cancel-lost", "a reported cancellation changes nothing", "I3")
def _cancel_lost() -> None:
    def cancel(old: Any) -> Any:
        def cancelling(held: Any, at: Any, now: Any) -> Any:
            return old(held, at, now) if held is None else unchanged(held)

        return cancelling

    planting.replace("services.lifecycle.domain.life:cancel", cancel)


@bug("history-skipped", "a version is missing in the history", "I3", "I10")
def _history_skipped() -> None:
    def execute(old: Any) -> Any:
        async def executing(tx: Any, sql: str, *arguments: Any) -> int:
            if "insert into history" in sql and list(arguments[3]) == ["activity.rescheduled"]:
                return 1
            return int(await old(tx, sql, *arguments))

        return executing

    planting.replace("libs.database.transaction:Transaction.execute", execute)


@bug("logged-thaws", "an addition turns a logged activity back into a scheduled one", "I3", "I7", "I8")
def _logged_thaws() -> None:
    def encode(old: Any) -> Any:
        def encoding(value: Any) -> bytes:
            if getattr(getattr(value, "change", None), "type", "") == "activity.appended":
                thawed = msgspec.structs.replace(value.activity, logged_at=None, completed_at=None)
                value = msgspec.structs.replace(value, activity=thawed)
            return bytes(old(value))

        return encoding

    planting.replace("services.lifecycle.recording:_encode", encode)


@bug("outbox-skipped", "cancellations are stored and never published", "I4", "I5", "I10")
def _outbox_skipped() -> None:
    def append(old: Any) -> Any:
        async def appending(tx: Any, events: Any) -> None:
            await old(tx, [event for event in events if "activity.cancelled" not in event.types])

        return appending

    planting.replace("services.lifecycle.recording:append", append)


@bug("published-twice-different", "an event's bytes differ from those in the history", "I4", "I5")
def _published_different() -> None:
    def append(old: Any) -> Any:
        async def appending(tx: Any, events: Any) -> None:
            await old(tx, [each._replace(value=each.value.replace(b'"call"', b'"mail"')) for each in events])

        return appending

    planting.replace("services.lifecycle.recording:append", append)
