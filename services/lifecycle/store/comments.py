"""Comments on activities, and whom they are to be told to."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.contracts.ids import uuid5
from libs.database import Transaction


class Comment(NamedTuple):
    """A comment: `author_id` is a member, `mentions` are members."""

    business_id: UUID
    activity_id: UUID
    id: UUID
    at: datetime
    author_id: UUID | None
    text: str
    mentions: list[UUID]


async def insert_comment(tx: Transaction, comment: Comment) -> None:
    """Keep a comment, and a notification for each member it mentions."""
    document = {"author_id": comment.author_id, "text": comment.text, "mentions": comment.mentions}
    await tx.execute(
        "insert into comment (business_id, activity_id, id, at, document) values ($1, $2, $3, $4, $5)",
        *comment[:4], orjson.dumps(document, default=str),
    )  # fmt: skip
    await insert_mentions(tx, comment)


async def insert_mentions(tx: Transaction, comment: Comment) -> None:
    """Note that the members whom a comment mentions are to be told."""
    if not comment.mentions:
        return
    await tx.execute(
        """
        insert into notification (business_id, id, member_id, kind, activity_id, comment_id, created_at)
        select $1, told.id, told.member_id, 'mention', $2, $3, $4
        from unnest($5::uuid[], $6::uuid[]) as told (id, member_id)
        """,
        comment.business_id, comment.activity_id, comment.id, comment.at,
        [uuid5(comment.id, f"mention:{member_id}") for member_id in comment.mentions], comment.mentions,
    )  # fmt: skip


async def list_comments(
    tx: Transaction, business_id: UUID, activity_id: UUID, page: tuple[int, int]
) -> list[dict[str, Any]]:
    """List a page of comments, oldest first: `id`, `at`, and what was said; of an erased one `erased`."""
    rows = await tx.fetch(
        """
        select id, at, document from comment where business_id = $1 and activity_id = $2
        order by at, id offset $3 limit $4
        """,
        business_id, activity_id, *page,
    )  # fmt: skip
    return [
        {"id": row[0], "at": row[1], "erased": row[2] is None} | (orjson.loads(row[2]) if row[2] is not None else {})
        for row in rows
    ]


async def erase_comments(tx: Transaction, keys: Collection[tuple[UUID, UUID]]) -> None:
    """Take the texts of comments on erased activities away."""
    await tx.execute(
        """
        update comment c set document = null
        from unnest($1::uuid[], $2::uuid[]) as erased (business_id, activity_id)
        where c.business_id = erased.business_id and c.activity_id = erased.activity_id and c.document is not null
        """,
        [business_id for business_id, _ in keys],
        [activity_id for _, activity_id in keys],
    )
