"""Routes for operators, in every service: dead letters, stopped partitions. They show the bytes of all businesses."""

import base64
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, SecretStr

from libs.access import operator_only
from libs.errors import NotFound
from libs.messaging import letters, stops
from libs.messaging.broker import BrokerSettings, Headers
from libs.messaging.letters import DeadLetter
from libs.messaging.stops import StoppedPartition
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.http import DatabaseDep

IDS_MAX = 1_000

log = structlog.get_logger("operations")

Ids = Annotated[list[Annotated[str, Line(40)]], Field(min_length=1, max_length=IDS_MAX)]


class ReplayBody(Body):
    """What is to be replayed: letters by id, or all open ones (of a business)."""

    ids: Ids | None = None
    business_id: UUID | None = None


class DropBody(Body):
    """What is to be given up, and why."""

    ids: Ids
    reason: Annotated[str, Line(letters.WHY_MAX)]


class ResumeBody(Body):
    """A stopped partition that is to go on; `set_aside`: poison up to its present end is set aside, however much."""

    topic: Annotated[str, Line(249)]
    partition: Annotated[int, Field(ge=0, lt=1 << 31)]
    set_aside: bool = False


def make_router(name: str, broker: BrokerSettings, operator_key: SecretStr) -> APIRouter:
    """Make the routes under /api/operations/<service>."""
    router = APIRouter(prefix=f"/api/operations/{name}", dependencies=[Depends(operator_only(operator_key))])
    _add_letters(router, name, broker)
    _add_stops(router, name)
    return router


def _add_letters(router: APIRouter, name: str, broker: BrokerSettings) -> None:
    package = name.replace("-", "_")

    @router.get("/letters")
    async def list_letters(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: str | None = None,
        business_id: UUID | None = None,
        settled: bool = False,
    ) -> Response:
        """List what was set aside, oldest first, or (`settled`) what became of it. `after`: an id of the list."""
        found = await letters.list_letters(broker, package, business_id=business_id, settled=settled)
        ids = [letter.id for letter in found]
        if after is not None and after not in ids:
            raise NotFound(f"{after!r} is not in this list any more; begin again")
        first = ids.index(after) + 1 if after is not None else 0
        shown = found[first : first + limit]
        more = shown[-1].id if first + limit < len(found) else None
        return json_answer({"count": len(found), "next": more, "results": [_show(letter) for letter in shown]})

    @router.get("/letters/{letter_id}")
    async def read_letter(letter_id: str) -> Response:
        """Show one letter with its bytes and headers."""
        letter = await letters.get_letter(broker, package, letter_id)
        return json_answer(_show(letter) | {"value": _bytes(letter.value), "headers": _headers(letter.headers)})

    @router.post("/letters/replay")
    async def replay_letters(body: ReplayBody) -> Response:
        """Send letters back to where they came from, to be handled again; twice is harmless."""
        count = await letters.replay(broker, package, body.ids, business_id=body.business_id)
        log.info("letters replayed", service=name, letters=count)
        return json_answer({"replayed": count})

    @router.post("/letters/drop")
    async def drop_letters(body: DropBody) -> Response:
        """Give letters up for good; the reason is kept with them."""
        count = await letters.drop(broker, package, body.ids, body.reason)
        log.info("letters dropped", service=name, letters=count, ids=body.ids[:10])
        return json_answer({"dropped": count})


def _add_stops(router: APIRouter, name: str) -> None:
    @router.get("/stops")
    async def list_stops(database: DatabaseDep) -> Response:
        """List stopped partitions, each with the record that decided it."""
        async with database.work() as tx:
            found = await stops.list_stops(tx)
        return json_answer({"count": len(found), "next": None, "results": [_show_stop(each) for each in found]})

    @router.post("/stops/resume")
    async def resume(body: ResumeBody, database: DatabaseDep) -> Response:
        """Let a stopped partition go on; the process that holds it does so within some seconds."""
        async with database.work() as tx:
            wish: stops.Wish = "set_aside" if body.set_aside else "resume"
            asked = await stops.ask(tx, wish, (body.topic, body.partition))
        log.info("partition resumed", service=name, partition=f"{body.topic}/{body.partition}", how=wish)
        return json_answer({"asked": asked})


def _show(letter: DeadLetter) -> dict[str, Any]:
    settled = letter.settled
    return {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "group": letter.group,
        "reason": letter.reason,
        "set_aside_at": _instant(letter.at_ms),
        "business_id": letter.business_id,
        "key": _bytes(letter.key),
        "bytes": letter.cut if letter.cut is not None else letter.size,
        "whole": letter.cut is None,
        "settled": {"how": settled.how, "at": _instant(settled.at_ms), "reason": settled.why} if settled else None,
    }


def _show_stop(stopped: StoppedPartition) -> dict[str, Any]:
    stop, guilty = stopped.stop, stopped.stop.guilty
    return {
        "group": stopped.group,
        "topic": guilty.topic,
        "partition": guilty.partition,
        "offset": stop.offset,
        "reason": stop.reason,
        "asked": stopped.asked,
        "record": {
            "offset": guilty.offset,
            "at": _instant(guilty.timestamp),
            "key": _bytes(guilty.key),
            "value": _bytes(guilty.value),
            "headers": _headers([(name, content or b"") for name, content in guilty.headers]),
        },
    }


def _headers(headers: Headers) -> list[dict[str, Any]]:
    return [{"name": name, "value": _bytes(content)} for name, content in headers]


def _bytes(content: bytes | None) -> dict[str, str | None] | None:
    """Show bytes: as text where they are, and always as base64."""
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    return {"text": text, "base64": base64.b64encode(content).decode()}


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
