"""Bugs in what is told."""

import uuid
from dataclasses import replace as changed
from typing import Any

import msgspec

from services.webhook_dispatcher import app
from services.webhook_dispatcher.sender import Result
from tests.faults import planting
from tests.faults.planted import bug
from tests.faults.planting import every


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

    planting.replace("services.webhook_dispatcher.handlers:types_of", types_of)
    planting.replace("services.webhook_dispatcher.handlers:_owed", owed)


@bug("filter-ignored", "endpoints hear of sources that they did not ask for", "I7")
def _filter_ignored() -> None:
    def matches(old: Any) -> Any:
        def matching(subscriber: Any, event: Any, event_type: str) -> bool:
            return bool(old(changed(subscriber, sources=frozenset()), event, event_type))

        return matching

    planting.replace("services.webhook_dispatcher.domain.subscriptions:matches", matches)


@bug("told-after-deletion", "a deleted endpoint is still told", "I6", "I7")
def _told_after_deletion() -> None:
    planting.in_sql("e.deleted_at is null and (e.status <> 'disabled'", "(e.status <> 'disabled'")
    planting.in_sql("with gone as (delete from endpoint_secret where business_id = $1 and endpoint_id = $2)", "")
    planting.replace("services.webhook_dispatcher.attempt:refuse", lambda old: lambda target, claim: None)


@bug("wrong-signature", "the signature is over other bytes than those sent", "I6")
def _wrong_signature() -> None:
    def sign(old: Any) -> Any:
        return lambda message_id, timestamp, body, keys: old(message_id, timestamp, body + b" ", keys)

    planting.replace("services.webhook_dispatcher.signing:sign", sign)


@bug("told-in-thought", "every fifth webhook is noted as delivered and never sent", "I6")
def _told_in_thought() -> None:
    fifth = every(5)

    def send(old: Any) -> Any:
        async def sending(self: Any, *arguments: Any) -> Any:
            return Result(None, 200) if fifth() else await old(self, *arguments)

        return sending

    planting.replace("services.webhook_dispatcher.lean:LeanSender.send", send)


@bug("new-id-each-time", "a webhook that is sent again has another id", "I6", during=("2xx-lost",))
def _new_id_each_time() -> None:
    def headers_of(old: Any) -> Any:
        return lambda message_id, *more: old(str(uuid.uuid4()), *more)

    planting.replace("services.webhook_dispatcher.signing:headers_of", headers_of)
