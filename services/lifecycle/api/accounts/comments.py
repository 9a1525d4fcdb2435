"""S2's routes of comments: what members say about an activity, and whom they mention."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.contracts.ids import ulid_of, uuid7
from libs.database import Transaction
from libs.errors import Conflict, Problem
from libs.service.answers import json_answer, versioned
from services.lifecycle import recording
from services.lifecycle.api.accounts.activities import LIMIT_MAX, find, lock
from services.lifecycle.api.accounts.bodies import CommentBody
from services.lifecycle.api.accounts.reading import look_up
from services.lifecycle.api.callers import MemberReader, MemberWriter, refuse
from services.lifecycle.domain import life
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import comments
from services.lifecycle.store.comments import Comment

router = APIRouter(prefix="/v1/accounts/activities/{activity_id}/comments")


@router.get("")
async def list_comments(
    activity_id: str,
    caller: MemberReader,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 50,
) -> Response:
    """List the comments on an activity, oldest first."""
    async with caller.database.transaction(caller.principal) as tx:
        activity = (await find(tx, caller, activity_id)).activity
        chosen = ((page - 1) * limit, limit)
        rows = await comments.list_comments(tx, caller.business_id, activity.activity_id, chosen)
        known = await look_up(tx, caller, {text for row in rows for text in _people(row)})
    total = activity.comments_count
    meta = {"page": page, "limit": limit, "total": total, "totalPages": -(-total // limit)}
    return json_answer({"data": [_shown(activity.activity_id, row, known) for row in rows], "meta": meta})


@router.post("", status_code=201)
async def add_comment(activity_id: str, body: CommentBody, caller: MemberWriter) -> Response:
    """Comment on an activity; members who are mentioned are told."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id)
        mentions = list(dict.fromkeys(body.mentions))
        known = await look_up(tx, caller, {str(each) for each in (*mentions, caller.principal.user_id) if each})
        refuse(list(_unknown(mentions, known)))
        caller.match(held)
        decision = life.comment(held, caller.now)
        if decision.outcome != "applied":
            raise Conflict(f"the activity {decision.reasons[0].message}", decision.reasons[0].code)
        me = known.person_of(caller.principal.user_id)
        author_id = me.member_id if me is not None else None
        identity = held.activity.activity_id
        comment = Comment(caller.business_id, identity, uuid7(), caller.now, author_id, body.text, mentions)
        await comments.insert_comment(tx, comment)
        await recording.record(tx, [Entry(decision, me, request_id=caller.request_id)])
        shown = {"data": _shown(identity, comment._asdict(), known)}
        return versioned(shown, held.activity.version + 1, 201, identity)

    return await caller.write(write)


def _unknown(mentions: Iterable[UUID], known: Known) -> Iterable[Problem]:
    for place, member_id in enumerate(mentions):
        member = known.members.get(str(member_id))
        if member is None or not member.live:
            message = f"{member_id} is not a member of this business"
            yield Problem(f"mentions.{place}", "does_not_exist", message)


def _people(row: dict[str, Any]) -> list[str]:
    return [str(each) for each in (row.get("author_id"), *row.get("mentions", ())) if each is not None]


def _shown(activity_id: UUID, row: dict[str, Any], known: Known) -> dict[str, Any]:
    author_id = row.get("author_id")
    author = known.members.get(str(author_id))
    return {
        "id": ulid_of(row["id"]),
        "activityId": ulid_of(activity_id),
        "text": row.get("text"),
        "mentions": [_member(str(each), known) for each in row.get("mentions", ())],
        "creatorId": author_id,
        "creator": author.name if author is not None else None,
        "creatorEmail": author.email if author is not None else None,
        "createdAt": row["at"],
        "erased": row.get("erased", False),
    }


def _member(member_id: str, known: Known) -> dict[str, Any]:
    member = known.members.get(member_id)
    return {"id": member_id, "name": member.name if member is not None else None}
