"""Lists of scheduled activities, and of the logged ones of an object: pages by keyset, bounded counts."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.access.sight import Sight, arguments_of, seen
from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain.plans import Count, Filter, LoggedFilter, Page, Place
from services.lifecycle.store.activities import decode
from services.lifecycle.store.privacy import HIDDEN

LOOKED_AT_MAX = 5_000
"""Rows that are looked at to count a list exactly, some 10 ms. From there on the count is an estimate."""

_PLANNED = "a.planned_at is not null and a.deleted_at is null and a.cancelled_at is null"
_LOGGED = "a.logged_at is not null and a.deleted_at is null"
_DATED, _UNDATED = ("a.due_at is not null", "a.due_at"), ("a.due_at is null", None)
_PARTS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "due_datetime": (_DATED, _UNDATED),
    "created": (("true", "a.created_at"),),
    "logged_at": (("true", "a.logged_at"),),
}
"""By ordering the parts of a list one after the other: which rows, and the column that orders them before the id."""


class _Where:
    """Conditions with their arguments. `core` is what indexes can find; `rest` is looked at row by row."""

    def __init__(self, business_id: UUID, rows: str) -> None:
        self.arguments: list[Any] = [business_id]
        self.core = ["a.business_id = $1", rows]
        self.rest: list[str] = []

    def argument(self, value: Any, kind: str) -> str:
        """Add an argument and name it."""
        self.arguments.append(value)
        return f"${len(self.arguments)}::{kind}"

    def span(self, column: str, since: datetime | None, before: datetime | None) -> None:
        """Demand a moment between two."""
        if since is not None:
            self.core.append(f"{column} >= {self.argument(since, 'timestamptz')}")
        if before is not None:
            self.core.append(f"{column} < {self.argument(before, 'timestamptz')}")

    def see(self, sight: Sight | None, reader_id: UUID | None) -> None:
        """Leave out what the caller does not see."""
        if reader_id is not None:
            self.rest.append(f"not {HIDDEN.format(reader=self.argument(reader_id, 'uuid'))}")
        if sight is not None:
            self.rest.append(seen("a", len(self.arguments) + 1))
            self.arguments += arguments_of(sight)


class _Chosen(NamedTuple):
    """Conditions, and who of the assignees is wanted: names of arguments, by column."""

    where: _Where
    assignees: tuple[tuple[str, str], ...] | None = None


async def list_planned(
    tx: Transaction, business_id: UUID, wanted: Filter, now: datetime, page: Page
) -> list[contract.Activity]:
    """List a page of scheduled activities, and one more if there is one in the direction of the page."""
    return await _list(tx, lambda: _planned(business_id, wanted, now), wanted.ordering, page)


async def list_logged(tx: Transaction, business_id: UUID, wanted: LoggedFilter, page: Page) -> list[contract.Activity]:
    """List a page of logged activities, and one more if there is one in the direction of the page."""
    return await _list(tx, lambda: _logged(business_id, wanted), wanted.ordering, page)


async def count_planned(tx: Transaction, business_id: UUID, wanted: Filter, now: datetime) -> Count:
    """Count the scheduled activities that a filter lets through."""
    return await _count(tx, _planned(business_id, wanted, now))


async def count_logged(tx: Transaction, business_id: UUID, wanted: LoggedFilter) -> Count:
    """Count the logged activities that a filter lets through."""
    return await _count(tx, _logged(business_id, wanted))


def _planned(business_id: UUID, wanted: Filter, now: datetime) -> _Chosen:
    where = _Where(business_id, _PLANNED)
    where.span("a.due_at", wanted.due_from, wanted.due_before)
    if wanted.type_id is not None:
        where.core.append(f"a.type_id = {where.argument(wanted.type_id, 'uuid')}")
    if wanted.completed is not None:
        part = where.rest if wanted.completed else where.core
        part.append(f"a.logged_at is {'not ' if wanted.completed else ''}null")
    if wanted.overdue is not None:
        moment = where.argument(now, "timestamptz")
        if wanted.overdue:
            where.core += ["a.logged_at is null", f"a.due_at < {moment}"]
        else:
            where.rest.append(f"(a.logged_at is not null or a.due_at is null or a.due_at >= {moment})")
    if wanted.search is not None:
        where.rest.append(f"a.search like {where.argument(_pattern(wanted.search), 'text')}")
    where.see(wanted.sight, wanted.reader_id)
    if not wanted.assigned:
        return _Chosen(where)
    columns = ("a.assignee_member_id", wanted.member_ids), ("a.assignee_role_id", wanted.role_ids)
    assignees = [(name, where.argument(sorted(set(ids)), "uuid[]")) for name, ids in columns if ids]
    return _Chosen(where, tuple(assignees))


def _logged(business_id: UUID, wanted: LoggedFilter) -> _Chosen:
    where = _Where(business_id, _LOGGED)
    where.core.append(f"a.type_id = {where.argument(wanted.type_id, 'uuid')}")
    where.span("a.logged_at", wanted.logged_from, wanted.logged_before)
    if wanted.completed is not None:
        where.rest.append(f"a.completed_at is {'not ' if wanted.completed else ''}null")
    if wanted.retracted is not None:
        where.rest.append(f"a.retracted_at is {'not ' if wanted.retracted else ''}null")
    where.see(wanted.sight, wanted.reader_id)
    return _Chosen(where)


def _pattern(text: str) -> str:
    escaped = text.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


async def _list(tx: Transaction, choose: Callable[[], _Chosen], ordering: str, page: Page) -> list[contract.Activity]:
    """Go through the parts of a list from the page's place on, in the page's direction, until the page is full."""
    place, skip = page.place, page.skip
    backward = place is not None and place.backward
    parts = list(_PARTS[ordering.removeprefix("-")])
    if place is not None and len(parts) > 1:
        begin = 0 if place.key is not None else 1
        parts = parts[begin:] if not backward else parts[begin::-1]
    rising = ordering.startswith("-") == backward
    rows: list[Any] = []
    for number, (which, column) in enumerate(parts):
        chosen = choose()
        chosen.where.core.append(which)
        if number == 0 and place is not None:
            chosen.where.core.append(_beyond(chosen.where, place, column, rising=rising))
        room = page.size + 1 - len(rows)
        found = await _fetch(tx, chosen, column, (rising, skip, room))
        rows += found
        if len(rows) > page.size:
            break
        if skip and number + 1 < len(parts):
            skip = 0 if found else max(0, skip - await _count_all(tx, chosen))
    activities = [decode(row[0]).activity for row in rows]
    return activities[::-1] if backward else activities


def _beyond(where: _Where, place: Place, column: str | None, *, rising: bool) -> str:
    sign, identity = ">" if rising else "<", where.argument(place.activity_id, "uuid")
    if column is None:
        return f"a.activity_id {sign} {identity}"
    return f"({column}, a.activity_id) {sign} ({where.argument(place.key, 'timestamptz')}, {identity})"


async def _fetch(tx: Transaction, chosen: _Chosen, column: str | None, window: tuple[bool, int, int]) -> Sequence[Any]:
    rising, skip, room = window
    where, way = chosen.where, "asc" if rising else "desc"
    if chosen.assignees == ():
        return []
    select = f"""select a.activity_id, a.version, {column or "a.due_at"} as key from activity a
        where {" and ".join((*where.core, *where.rest))}"""  # noqa: S608 - fixed texts; values are arguments
    order = f"order by {f'{column} {way}, ' if column else ''}a.activity_id {way} limit {skip + room}"
    if chosen.assignees is None:
        found = f"{select} {order}"
    else:
        found = " union all ".join(
            f"""select one.* from unnest({ids}) as who (id)
            cross join lateral ({select} and {name} = who.id {order}) as one"""  # noqa: S608
            for name, ids in chosen.assignees
        )
    return await tx.fetch(
        f"""with chosen as materialized (
            select * from ({found}) as found
            order by key {way}, activity_id {way} offset {skip} limit {room})
        select h.document from chosen
        join history h on h.business_id = $1 and h.activity_id = chosen.activity_id and h.version = chosen.version
        order by chosen.key {way}, chosen.activity_id {way}""",  # noqa: S608
        *where.arguments,
    )


async def _count(tx: Transaction, chosen: _Chosen) -> Count:
    """Count exactly among the first rows that indexes find; from there on go by the planner's estimate."""
    if chosen.assignees == ():
        return Count(0)
    arguments, found = chosen.where.arguments, _found(chosen)
    looked_at, hits = (
        await tx.fetch(
            f"select count(*), count(*) filter (where hit) from ({found} limit {LOOKED_AT_MAX}) as first",  # noqa: S608
            *arguments,
        )
    )[0]
    if looked_at < LOOKED_AT_MAX:
        return Count(hits)
    plan = await tx.value(f"explain (format json) {found}", *arguments)
    estimate = orjson.loads(plan)[0]["Plan"]["Plan Rows"]
    return Count(max(hits, round(estimate * hits / looked_at)), is_estimate=True)


async def _count_all(tx: Transaction, chosen: _Chosen) -> int:
    count: int = await tx.value(
        f"select count(*) filter (where hit) from ({_found(chosen)}) as found",  # noqa: S608
        *chosen.where.arguments,
    )
    return count


def _found(chosen: _Chosen) -> str:
    """Select the rows that indexes can find; `hit` says of each whether it is in the list."""
    where = chosen.where
    select = f"select {' and '.join(where.rest) or 'true'} as hit from activity a where {' and '.join(where.core)}"  # noqa: S608
    if chosen.assignees is None:
        return select
    return " union all ".join(f"{select} and {name} = any({ids})" for name, ids in chosen.assignees)
