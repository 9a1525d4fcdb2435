"""Bugs on purpose, one at a time; each must turn the checker red, or the checker is worth nothing.

A bug's `invariants` are those of which at least one must break; `during` the faults that bring it out.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import msgspec

from libs.errors import Unavailable
from services.ingest import domain
from services.lifecycle.domain.held import unchanged
from services.webhook_dispatcher import app
from services.webhook_dispatcher.sender import Result
from tests.faults.installation import PACKAGES
from tests.faults.planting import every, in_sql, replace


@dataclass(frozen=True)
class Bug:
    """A name, a line of meaning, how it is planted, what must turn red, and during which faults."""

    name: str
    meaning: str
    plant: Callable[[], None]
    invariants: tuple[str, ...]
    during: tuple[str, ...] = ()


PLANTED: dict[str, Bug] = {}


def bug(name: str, meaning: str, *invariants: str, during: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Give a bug its name."""

    def named(plant: Callable[[], None]) -> Callable[[], None]:
        assert name not in PLANTED, name
        PLANTED[name] = Bug(name, meaning, plant, invariants, during)
        return plant

    return named


# -- what is acknowledged --------------------------------------------------------------------------------------------


@bug("auto-commit", "offsets follow also when the batch could not be handled", "I1", "I4", "I5", "I6", "I8")
def _auto_commit() -> None:
    failing = every(4)

    def handle_all(old: Any) -> Any:
        async def handling(self: Any, records: Any) -> None:
            if self._group in PACKAGES and failing():
                raise Unavailable("a passing trouble")
            await old(self, records)

        return handling

    def put_back(_: Any) -> Any:
        return lambda self, records: None

    replace("libs.messaging.handling:Handling.handle_all", handle_all)
    replace("libs.messaging.assignment:Assignment.put_back", put_back)


@bug(
    "offset-first",
    "the offset is committed before the transaction",
    "I1",
    "I4",
    "I5",
    "I6",
    "I8",
    during=("killed",) * 3,
)
def _offset_first() -> None:
    def receive(old: Any) -> Any:
        async def receiving(self: Any, records: Any) -> None:
            await self._assignment.acknowledge(records, at_once=True)
            await asyncio.sleep(0.3)
            await old(self, records)

        return receiving

    replace("libs.messaging.consumer:Consumer._receive", receive)


@bug("answer-first", "reports are acknowledged before the commit", "I1", "I8", during=("killed", "postgres-killed"))
def _answer_first() -> None:
    tasks: set[Any] = set()

    def keep_many(old: Any) -> Any:
        async def keeping(self: Any, database: Any, arrival: Any, reports: Any, *more: Any) -> Any:
            async def later() -> None:
                await asyncio.sleep(0.5)
                await old(self, database, arrival, reports, *more)

            task = asyncio.create_task(later())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return domain.judge(reports, {report.receipt_id for report in reports}, {})

        return keeping

    replace("services.ingest.gather:Gather.keep_many", keep_many)


@bug("dedupe-off", "a name that is taken is taken again, with any body", "I3")
def _dedupe_off() -> None:
    def insert(old: Any) -> Any:
        async def inserting(tx: Any, arrival: Any, reports: Any) -> Any:
            await old(tx, arrival, reports)
            return {report.receipt_id for report in reports}

        return inserting

    replace("services.ingest.gather:store.insert_receipts", insert)


@bug("refused-kept", "what is refused for its body goes on all the same", "I2", "I3")
def _refused_kept() -> None:
    _dedupe_off()
    in_sql("on conflict (business_id, receipt_id) do nothing\n        returning receipt_id", "on conflict do nothing")

    def settle(old: Any) -> Any:
        def settling(held: Any, arrived: Any, *more: Any) -> Any:
            return old(None if "refused" in (arrived.report.summary or "") else held, arrived, *more)

        return settling

    replace("services.lifecycle.admission:rules.settle", settle)


@bug("half-answered", "every other report gets no answer", "I1")
def _half_answered() -> None:
    def record(old: Any) -> Any:
        async def recording(tx: Any, entries: Any, answers: Any = ()) -> None:
            await old(tx, entries, [each for each in answers if each.id.int % 2])

        return recording

    replace("services.lifecycle.admission:recording.record", record)


@bug(
    "admissions-forgotten",
    "a report that comes again is admitted again",
    "I1",
    "I3",
    "I8",
    during=("topics-from-zero",),
)
def _admissions_forgotten() -> None:
    def list_(_: Any) -> Any:
        async def nothing(tx: Any, places: Any) -> Any:
            return {}

        return nothing

    replace("services.lifecycle.admission:admissions.list_admissions", list_)


# -- the life of an activity -----------------------------------------------------------------------------------------


@bug("version-not-checked", "If-Match is not compared", "I3")
def _version_not_checked() -> None:
    replace("services.lifecycle.api.callers:Caller.match", lambda old: lambda self, held: None)


@bug("append-lost", "every third addition is answered and not added", "I1")
def _append_lost() -> None:
    third = every(3)

    def append(old: Any) -> Any:
        def appending(held: Any, *arguments: Any, **more: Any) -> Any:
            logged = held is not None and held.activity.logged_at is not None
            return unchanged(held) if logged and third() else old(held, *arguments, **more)

        return appending

    replace("services.lifecycle.domain.life:append", append)


@bug("cancel-lost", "a reported cancellation changes nothing", "I3")
def _cancel_lost() -> None:
    def cancel(old: Any) -> Any:
        def cancelling(held: Any, at: Any, now: Any) -> Any:
            return old(held, at, now) if held is None else unchanged(held)

        return cancelling

    replace("services.lifecycle.domain.life:cancel", cancel)


@bug("history-skipped", "a version is missing in the history", "I3", "I10")
def _history_skipped() -> None:
    def execute(old: Any) -> Any:
        async def executing(tx: Any, sql: str, *arguments: Any) -> int:
            if "insert into history" in sql and list(arguments[3]) == ["activity.rescheduled"]:
                return 1
            return int(await old(tx, sql, *arguments))

        return executing

    replace("libs.database.transaction:Transaction.execute", execute)


@bug("logged-thaws", "an addition turns a logged activity back into a scheduled one", "I3", "I7", "I8")
def _logged_thaws() -> None:
    def encode(old: Any) -> Any:
        def encoding(value: Any) -> bytes:
            if getattr(getattr(value, "change", None), "type", "") == "activity.appended":
                thawed = msgspec.structs.replace(value.activity, logged_at=None, completed_at=None)
                value = msgspec.structs.replace(value, activity=thawed)
            return bytes(old(value))

        return encoding

    replace("services.lifecycle.recording:_encode", encode)


@bug("outbox-skipped", "cancellations are stored and never published", "I4", "I5", "I10")
def _outbox_skipped() -> None:
    def append(old: Any) -> Any:
        async def appending(tx: Any, events: Any) -> None:
            await old(tx, [event for event in events if "activity.cancelled" not in event.types])

        return appending

    replace("services.lifecycle.recording:append", append)


@bug("published-twice-different", "an event's bytes differ from those in the history", "I4", "I5")
def _published_different() -> None:
    def append(old: Any) -> Any:
        async def appending(tx: Any, events: Any) -> None:
            await old(tx, [each._replace(value=each.value.replace(b'"call"', b'"mail"')) for each in events])

        return appending

    replace("services.lifecycle.recording:append", append)


# -- what is shown and counted ---------------------------------------------------------------------------------------


@bug("wrong-link", "an activity stands on another record's timeline", "I4")
def _wrong_link() -> None:
    def links_of(old: Any) -> Any:
        def linking(activity: Any) -> Any:
            links = old(activity)
            return links if activity.activity_id.int % 3 else [(name, uuid.uuid5(id_, "x")) for name, id_ in links]

        return linking

    replace("services.timeline_projector.domain.lines:links_of", links_of)


@bug("entry-stays", "an entry is not taken away when the activity moves", "I4", "I8")
def _entry_stays() -> None:
    def delete(_: Any) -> Any:
        async def nothing(tx: Any, gone: Any) -> None:
            return None

        return nothing

    replace("services.timeline_projector.handlers:entries.delete_entries", delete)


@bug("badge-off", "a badge says one too many", "I4")
def _badge_off() -> None:
    in_sql("own.lines + shared.lines as lines", "own.lines + shared.lines + 1 as lines")


@bug("older-wins", "a version that comes late replaces a newer one", "I4", "I5", during=("events-again",))
def _older_wins() -> None:
    in_sql("fact.version < new.version", "fact.version <> new.version")
    in_sql("head.version < new.version", "head.version <> new.version")


@bug("blind-counter", "reports count up without looking at what was counted", "I5")
def _blind_counter() -> None:
    def differences(old: Any) -> Any:
        return lambda facts, earlier: old(facts, dict.fromkeys(earlier))

    replace("services.reporting.handlers:differences_of", differences)


@bug("bucket-not-moved", "what moves to another time stays in its old bucket, too", "I5")
def _bucket_not_moved() -> None:
    def differences(old: Any) -> Any:
        def differing(facts: Any, earlier: Any) -> Any:
            near = timedelta(minutes=15)
            moved = {key for key, was in earlier.items() if was is not None and abs(was.at - facts[key].at) > near}
            return old(facts, {key: None if key in moved else was for key, was in earlier.items()})

        return differing

    replace("services.reporting.handlers:differences_of", differences)


@bug("replay-counts", "what is heard again is counted again", "I5", during=("events-again",))
def _replay_counts() -> None:
    def replace_facts(old: Any) -> Any:
        async def replacing(tx: Any, facts: Any) -> Any:
            earlier = await old(tx, facts)
            return {key: earlier.get(key) for key in facts}

        return replacing

    replace("services.reporting.handlers:facts.replace_facts", replace_facts)


@bug("stale-read", "min_version is not waited for", "I12")
def _stale_read() -> None:
    def not_yet(_: Any) -> Any:
        async def at_once(*arguments: Any) -> None:
            return None

        return at_once

    replace("services.timeline_projector.api.timelines:not_yet", not_yet)

    def handle(old: Any) -> Any:
        async def handling(self: Any, records: Any) -> None:
            await asyncio.sleep(1.5 if self._group == "timeline_projector" else 0)
            await old(self, records)

        return handling

    replace("libs.messaging.handling:Handling.handle_all", handle)


# -- what is told ----------------------------------------------------------------------------------------------------


@bug("scheduled-told", "what is only planned is told", "I7")
def _scheduled_told() -> None:
    app.HEARD = (*app.HEARD, "activity.created")

    def types_of(old: Any) -> Any:
        return lambda event: ("activity.logged",) if event.change.type == "activity.created" else old(event)

    def owed(old: Any) -> Any:
        def owing(event: Any, *more: Any) -> Any:
            activity = event.activity
            if activity.logged_at is None:
                event = msgspec.structs.replace(
                    event, activity=msgspec.structs.replace(activity, logged_at=activity.recorded_at)
                )
            return old(event, *more)

        return owing

    replace("services.webhook_dispatcher.handlers:types_of", types_of)
    replace("services.webhook_dispatcher.handlers:_owed", owed)


@bug("filter-ignored", "endpoints hear of sources that they did not ask for", "I7")
def _filter_ignored() -> None:
    def matches(old: Any) -> Any:
        def matching(subscriber: Any, event: Any, event_type: str) -> bool:
            return bool(old(changed(subscriber, sources=frozenset()), event, event_type))

        return matching

    replace("services.webhook_dispatcher.domain.subscriptions:matches", matches)


@bug("told-after-deletion", "a deleted endpoint is still told", "I6", "I7")
def _told_after_deletion() -> None:
    in_sql("where business_id = any($1) and deleted_at is null", "where business_id = any($1)")
    in_sql("with gone as (delete from endpoint_secret where business_id = $1 and endpoint_id = $2)", "")
    replace("services.webhook_dispatcher.attempt:refuse", lambda old: lambda target, claim: None)


@bug("wrong-signature", "the signature is over other bytes than those sent", "I6")
def _wrong_signature() -> None:
    def sign(old: Any) -> Any:
        return lambda message_id, timestamp, body, keys: old(message_id, timestamp, body + b" ", keys)

    replace("services.webhook_dispatcher.signing:sign", sign)


@bug("told-in-thought", "every fifth webhook is noted as delivered and never sent", "I6")
def _told_in_thought() -> None:
    fifth = every(5)

    def send(old: Any) -> Any:
        async def sending(self: Any, *arguments: Any) -> Any:
            return Result(None, 200) if fifth() else await old(self, *arguments)

        return sending

    replace("services.webhook_dispatcher.lean:LeanSender.send", send)


@bug("new-id-each-time", "a webhook that is sent again has another id", "I6", during=("2xx-lost",))
def _new_id_each_time() -> None:
    def headers_of(old: Any) -> Any:
        return lambda message_id, *more: old(str(uuid.uuid4()), *more)

    replace("services.webhook_dispatcher.signing:headers_of", headers_of)


# -- trouble, and the walls ------------------------------------------------------------------------------------------


@bug("poison-swallowed", "poison is dropped without a trace", "I8", during=("poison",))
def _poison_swallowed() -> None:
    def set_aside(_: Any) -> Any:
        async def nothing(self: Any, tx: Any, poison: Any) -> None:
            return None

        return nothing

    replace("libs.messaging.handling:Handling._set_aside", set_aside)


@bug("canary-in-log", "a summary is written to the log", "I9")
def _canary_in_log() -> None:
    def accept(old: Any) -> Any:
        def accepting(arrival: Any, value: Any, *more: Any, **named: Any) -> Any:
            logging.getLogger("ingest").warning("accepting %s", value.get("summary"))
            return old(arrival, value, *more, **named)

        return accepting

    replace("services.ingest.domain:accept", accept)


@bug("business-ignored", "an activity of another business is found by its id, and no wall stands behind", "I9")
def _business_ignored() -> None:
    opened: ContextVar[Any] = ContextVar("opened")

    def transaction(old: Any) -> Any:
        def remembered(self: Any, principal: Any) -> Any:
            opened.set(self)
            return old(self, principal)

        return remembered

    def find(old: Any) -> Any:
        async def finding(tx: Any, *names: Any) -> Any:
            if (own := await old(tx, *names)) is not None:
                return own
            async with opened.get().work() as wide:
                return await old(wide, *names)

        return finding

    replace("libs.database.pool:Database.transaction", transaction)
    replace("services.lifecycle.api.logged:activities.find_activity", find)
    in_sql("where a.business_id = $1 and a.activity_id = $2", "where $1::uuid is not null and a.activity_id = $2")
