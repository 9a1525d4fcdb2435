"""Route: a conversation and what was said in it."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from libs.access import Principal, may
from libs.errors import NotFound, Problem, Rejected
from libs.service.answers import json_answer
from libs.service.body import Body, Line
from libs.service.cursors import decode_cursor, encode_cursor
from libs.service.freshness import Wanted, not_yet, read_wanted
from libs.service.http import DatabaseDep
from services.timeline_projector.store import conversations, records, wide

PAGE_MAX = 500

router = APIRouter()


class MessagesQuery(Body):
    """`q`: a part of a message's text, whatever the case of its letters. `min_version`: `freshness`."""

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 100
    cursor: str | None = None
    q: Annotated[str, Line(200)] | None = None
    min_version: list[str] = Field(default_factory=list)


@router.get("/api/interactions/{interaction_id}/messages")
async def list_messages(
    interaction_id: UUID,
    query: Annotated[MessagesQuery, Query()],
    wanted: Annotated[Wanted, Depends(read_wanted)],
    database: DatabaseDep,
    principal: Annotated[Principal, Depends(may("timeline.read"))],
) -> Response:
    """Show a finished conversation with its messages, oldest first; `position` counts them from 0.

    With `q`, `matches` holds the positions of all messages that have it in their text, also on other pages.
    """
    filter_text = f"messages\x1f{interaction_id}"
    first = _read_cursor(principal, filter_text, query.cursor)
    waiting = await not_yet(database, principal, wanted, records.find_versions)
    if waiting is not None:
        return waiting
    async with database.transaction(principal) as tx:
        talk = await conversations.find_talk(tx, principal.business_id, interaction_id)
        sight = await records.sight_in(tx, principal)
        if talk is not None and sight is not None:
            seen = await wide.sees_talk(tx, principal.business_id, interaction_id, sight)
            talk = talk if seen else None
        if talk is None:
            raise NotFound(f"there is no interaction with the id {interaction_id}")
        whose = (principal.business_id, interaction_id)
        rows = await conversations.list_messages(tx, *whose, first, query.limit + 1)
        matches = None if query.q is None else await conversations.find_positions(tx, *whose, _pattern(query.q))
    shown, following = rows[: query.limit], None
    if len(rows) > query.limit:
        following = encode_cursor(principal, filter_text, [rows[query.limit]["position"]])
    content = {"interaction": _shown(talk), "results": [_message(row) for row in shown], "next": following}
    return json_answer(content if matches is None else content | {"matches": matches})


def _shown(talk: Any) -> dict[str, Any]:
    return {
        "id": talk["interaction_id"],
        "activity_id": talk["shown_as"],
        **{name: talk[name] for name in _ANSWERED},
        "transfers": orjson.Fragment(talk["transfers"]),
    }


def _message(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in _MESSAGE}


def _pattern(text: str) -> str:
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _read_cursor(principal: Principal, filter_text: str, cursor: str | None) -> int:
    if cursor is None:
        return 0
    match decode_cursor(principal, filter_text, cursor):
        case [int(position)] if 0 <= position < 1 << 31:
            return position
    message = "is not a cursor of this list; take `next` of an earlier answer as it is"
    raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)])


_ANSWERED = (
    "version", "channel", "type", "source", "source_ref", "queue", "agent_id", "agent", "direction", "address",
    "opened_at", "answered_at", "closed_at", "recorded_at", "erased_at", "disposition", "first_message",
    "messages_count",
)  # fmt: skip
_MESSAGE = (
    "id", "position", "direction", "author", "text", "media_url", "sent_at", "delivered_at", "read_at", "template",
)  # fmt: skip
