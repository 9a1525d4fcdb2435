"""Activities: the current row that is locked and decided on, and every version with its document."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity import linked_of, own_of
from libs.contracts.decoding import decoder_of
from libs.database import Transaction
from libs.errors import Unavailable
from services.lifecycle.domain.chain import Skeleton
from services.lifecycle.domain.held import Held

Key = tuple[UUID, UUID]
SEARCHED_MAX = 2_000
decode = decoder_of(contract.ActivityEvent)


class Version(NamedTuple):
    """A version about to be saved: the activity after it, its event's bytes, and its place in the chain."""

    held: Held
    skeleton: Skeleton
    document: bytes
    salt: bytes
    hash: bytes


class Locked(NamedTuple):
    """Activities as they were locked, and those of them for which reports wait."""

    held: dict[Key, Held]
    awaited: set[Key]


async def lock_activities(tx: Transaction, keys: Collection[Key]) -> dict[Key, Held]:
    """Lock activities in the order of their keys and read their current state; unknown ones are not in the answer.

    Two statements: what the one read before it got its locks may be old, the second sees what the locks protect. Each
    row is found by itself (`lateral`): joined, row-level security makes the planner read a whole business for them
    where it has not counted that business yet (864 ms instead of 1 at 34,000 activities [measured]).
    """
    return (await _lock(tx, keys, _DOCUMENTS)).held


async def lock_awaited(tx: Transaction, keys: Collection[Key]) -> Locked:
    """As `lock_activities`; tell also for which of them reports wait, in the same statements."""
    return await _lock(tx, keys, _DOCUMENTS_AWAITED)


_FOUND = """
    select found.* from unnest($1::uuid[], $2::uuid[], $3::int[]) as wanted (business_id, activity_id, version)
    cross join lateral (
        select h.business_id, h.activity_id, h.document, h.hash, {} from history h
        where h.business_id = wanted.business_id and h.activity_id = wanted.activity_id
            and h.version = wanted.version limit 1) as found
    """
_DOCUMENTS = _FOUND.format("false")
_DOCUMENTS_AWAITED = _FOUND.format("""exists (
            select from waiting w
            where w.business_id = wanted.business_id and w.activity_id = wanted.activity_id offset 0)""")
"""The offset keeps the planner from reading all that waits."""


async def _lock(tx: Transaction, keys: Collection[Key], documents_of: str) -> Locked:
    ordered = sorted(keys)
    locked = await tx.fetch(
        """
        select found.* from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, activity_id)
        cross join lateral (
            select a.business_id, a.activity_id, a.version, a.heard, a.said from activity a
            where a.business_id = wanted.business_id and a.activity_id = wanted.activity_id
            for no key update) as found
        """,
        [business_id for business_id, _ in ordered],
        [activity_id for _, activity_id in ordered],
    )
    if not locked:
        return Locked({}, set())
    documents = await tx.fetch(
        documents_of, [row[0] for row in locked], [row[1] for row in locked], [row[2] for row in locked]
    )
    beside = {(row[0], row[1]): (row[3], row[4]) for row in locked}
    held = {(row[0], row[1]): Held(decode(row[2]).activity, *beside[row[0], row[1]], row[3]) for row in documents}
    return Locked(held, {(row[0], row[1]) for row in documents if row[4]})


async def find_activity(tx: Transaction, business_id: UUID, activity_id: UUID) -> Held | None:
    """Read the current state of one activity."""
    row = await tx.find(
        """
        select a.heard, a.said, h.document, h.hash from activity a
        join history h on h.business_id = a.business_id and h.activity_id = a.activity_id and h.version = a.version
        where a.business_id = $1 and a.activity_id = $2
        """,
        business_id, activity_id,
    )  # fmt: skip
    return None if row is None else Held(decode(row[2]).activity, row[0], row[1], row[3])


async def find_version(tx: Transaction, business_id: UUID, activity_id: UUID, version: int) -> contract.Activity | None:
    """Read an activity as it was at a version; None where there is none, or it was erased."""
    document = await tx.value(
        "select document from history where business_id = $1 and activity_id = $2 and version = $3",
        business_id, activity_id, version,
    )  # fmt: skip
    return None if document is None else decode(document).activity


async def save_activities(tx: Transaction, versions: Sequence[Version]) -> None:
    """Save new versions, at most one of each activity, and their place in the history.

    Raises Unavailable when somebody else made one of the new activities in the meantime.
    """
    new = [each.held for each in versions if each.held.activity.version == 1]
    later = [each.held for each in versions if each.held.activity.version > 1]
    if new:
        columns = _columns(new)
        if _are_plain(columns):
            await tx.insert(_INSERT_PLAIN, *(columns[place] for place in _PLAIN))
        else:
            await tx.insert(_INSERT, *columns)
    if later and await tx.execute(_UPDATE, *_columns(later)) != len(later):
        raise Unavailable("some of these activities were changed by somebody else just now")
    await tx.execute(
        """
        insert into history (business_id, activity_id, version, type, recorded_at, by_member, document, salt, hash)
        select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::timestamptz[], $6::uuid[], $7::bytea[],
                             $8::bytea[], $9::bytea[])
        """,
        *zip(*(each.skeleton for each in versions), strict=True),
        [each.document for each in versions],
        [each.salt for each in versions],
        [each.hash for each in versions],
    )


async def list_history(tx: Transaction, business_id: UUID, activity_id: UUID) -> list[Any]:
    """List all versions, oldest first: the skeleton, `hash`, and `document` (None: erased)."""
    return await tx.fetch(
        """
        select version, type, recorded_at, by_member, hash, document from history
         where business_id = $1 and activity_id = $2 order by version
        """,
        business_id, activity_id,
    )  # fmt: skip


async def insert_appends(tx: Transaction, appends: Sequence[tuple[Key, contract.Append, bytes]]) -> None:
    """Keep additions, of which events carry the newest alone. Rows: (key, addition, its JSON)."""
    await tx.execute(
        """
        insert into activity_append (business_id, activity_id, id, at, document)
        select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bytea[])
        """,
        [business_id for (business_id, _), _, _ in appends],
        [activity_id for (_, activity_id), _, _ in appends],
        [addition.id for _, addition, _ in appends],
        [addition.at for _, addition, _ in appends],
        [document for _, _, document in appends],
    )


async def has_append(tx: Transaction, key: Key, append_id: UUID) -> bool:
    """Tell whether an addition was made to an activity already."""
    found: bool = await tx.value(
        "select exists (select from activity_append where business_id = $1 and activity_id = $2 and id = $3)",
        *key, append_id,
    )  # fmt: skip
    return found


async def list_appends(tx: Transaction, business_id: UUID, activity_id: UUID) -> list[bytes]:
    """List the additions to an activity, oldest first, as JSON; of an erased one what is left of it."""
    rows = await tx.fetch(
        """
        select coalesce(document, convert_to(json_build_object('id', id, 'at', at, 'erased', true)::text, 'UTF8'))
        from activity_append where business_id = $1 and activity_id = $2 order by at, id
        """,
        business_id, activity_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def lock_page(tx: Transaction, after: Key | None, limit: int) -> list[Held]:
    """Page through the current states of all businesses in the order of their keys; locked, so that none moves on."""
    business_id, activity_id = after or (UUID(int=0), UUID(int=0))
    rows = await tx.fetch(
        """
        select business_id, activity_id from activity
        where (business_id, activity_id) > ($1, $2) order by business_id, activity_id limit $3
        """,
        business_id, activity_id, limit,
    )  # fmt: skip
    keys = [(row[0], row[1]) for row in rows]
    held = await lock_activities(tx, keys)
    return [held[key] for key in keys]


_COLUMNS = (
    ("business_id", "uuid"), ("activity_id", "uuid"), ("version", "int"), ("type_id", "uuid"), ("heard", "smallint"),
    ("said", "bigint"), ("appends_count", "smallint"), ("assignee_member_id", "uuid"), ("assignee_role_id", "uuid"),
    ("created_at", "timestamptz"), ("planned_at", "timestamptz"), ("due_at", "timestamptz"),
    ("occurred_at", "timestamptz"), ("logged_at", "timestamptz"), ("completed_at", "timestamptz"),
    ("cancelled_at", "timestamptz"), ("retracted_at", "timestamptz"), ("deleted_at", "timestamptz"),
    ("erased_at", "timestamptz"), ("search", "text"), ("own", "text"), ("linked", "text"),
    ("same_as", "uuid"),
)  # fmt: skip
_ID_LISTS = ("own", "linked")
"""Columns of uuid[], written as text: what is unnested cannot hold lists."""
_NEW = {name: f"new.{name}::uuid[]" if name in _ID_LISTS else f"new.{name}" for name, _ in _COLUMNS}
_RARE = frozenset(
    ("appends_count", "assignee_member_id", "assignee_role_id", "cancelled_at", "retracted_at", "deleted_at",
     "erased_at", "same_as")
)  # fmt: skip
"""What a new activity seldom has: each list less saves client and server 0.2 us a row [measured]."""
_PLAIN = [place for place, (name, _) in enumerate(_COLUMNS) if name not in _RARE]
_RARE_PLACES = [place for place, (name, _) in enumerate(_COLUMNS) if name in _RARE]


def _insert_of(columns: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(name for name, _ in columns)
    lists = ", ".join(f"${place}::{kind}[]" for place, (_, kind) in enumerate(columns, 1))
    new = ", ".join(_NEW[name] for name, _ in columns)
    return f"""
        insert into activity ({names}) select {new} from unnest({lists}) as new ({names})
        order by business_id, activity_id
        """  # noqa: S608 - names of columns from above, no data


_INSERT = _insert_of(_COLUMNS)
_INSERT_PLAIN = _insert_of([_COLUMNS[place] for place in _PLAIN])
_UPDATE = f"""
    {_INSERT} on conflict (business_id, activity_id) do update
    set {", ".join(f"{name} = excluded.{name}" for name, _ in _COLUMNS[2:])}
    where activity.version = excluded.version - 1
    """  # noqa: S608
"""Later versions, of rows that are there and locked; of others the trigger `activity_begins` makes none. Written so,
each row is found by its key whatever the planner has counted (see `lock_activities`), and all of them in one go: every
statement opens 12 indexes (lifecycle by itself, a completion: 92 instead of 112 us of PostgreSQL [measured]; with all
services on two cores no gain was seen).
"""


def _columns(held: Sequence[Held]) -> list[list[Any]]:
    return [list(column) for column in zip(*map(_row, held), strict=True)]


def _are_plain(columns: Sequence[Sequence[Any]]) -> bool:
    """Tell whether none of the rows has anything in the columns that are `_RARE`."""
    return not any(any(columns[place]) for place in _RARE_PLACES)


def _row(held: Held) -> tuple[Any, ...]:
    activity = held.activity
    assignee = activity.assignee
    return (
        activity.business_id, activity.activity_id, activity.version, activity.type_id, held.heard, held.said,
        activity.appends_count, None if assignee is None else assignee.member_id,
        None if assignee is None else assignee.role_id, activity.created_at, activity.planned_at, activity.due_at,
        activity.occurred_at, activity.logged_at, activity.completed_at, activity.cancelled_at, activity.retracted_at,
        activity.deleted_at, activity.erased_at, None if activity.planned_at is None else searched(activity),
        _ids(own_of(activity)), _ids(linked_of(activity)), activity.same_as,
    )  # fmt: skip


def _ids(found: Sequence[UUID]) -> str:
    return f"{{{','.join(map(str, found))}}}" if found else "{}"


def searched(activity: contract.Activity) -> str:
    """Put the texts together in which lists search, in lower case."""
    texts = (activity.type_name, activity.subject, activity.summary, activity.notes)
    return "\n".join(text for text in texts if text)[:SEARCHED_MAX].lower()
