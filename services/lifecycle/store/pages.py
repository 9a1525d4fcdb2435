"""Pages of long lists, found by the row they follow, and counts that look at a bounded number of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.access.sight import Sight, arguments_of, seen
from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain.plans import Count, Page, Place
from services.lifecycle.store.activities import decode
from services.lifecycle.store.privacy import HIDDEN

LOOKED_AT_MAX = 2_000
"""Rows that are looked at to count a list exactly, up to 10 ms. From there on the count is an estimate."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: its parts one after the other, each by which rows it has and the column that orders them before the id.

    `table` has a row for each activity, `beside` joins `activity a` to it where it is another; `identity` is its id.
    A part without a column is sorted by `otherwise`, which is null there: so that it is read by the same index.
    """

    parts: tuple[tuple[str, str | None], ...]
    otherwise: str | None = None
    table: str = "activity"
    alias: str = "a"
    beside: str = ""

    @property
    def source(self) -> str:
        """Write what its rows are selected from."""
        return f"{self.table} {self.alias} {self.beside}"

    @property
    def identity(self) -> str:
        """Name the column of the activity's id."""
        return f"{self.alias}.activity_id"


class Where:
    """Conditions with their arguments. `core` is what indexes can find; `rest` is looked at row by row."""

    def __init__(self, business_id: UUID, *core: str) -> None:
        self.arguments: list[Any] = [business_id]
        self.core = list(core)
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


class Chosen(NamedTuple):
    """Conditions; with `lanes`, rows of several searches together: names of arguments (lists of ids) by column."""

    where: Where
    lanes: tuple[tuple[str, str], ...] | None = None


async def list_page(
    tx: Transaction, listing: Listing, choose: Callable[[], Chosen], page: Page, *, falling: bool
) -> list[contract.Activity]:
    """List a page, and one more if there is one in the direction of the page; `falling`: the list's order.

    Goes through the parts from the page's place on, in the page's direction, until the page is full.
    """
    place, skip = page.place, page.skip
    backward = place is not None and place.backward
    parts = list(listing.parts)
    if place is not None and len(parts) > 1:
        begin = 0 if place.key is not None else 1
        parts = parts[begin:] if not backward else parts[begin::-1]
    rising = falling == backward
    rows: list[Any] = []
    for number, (which, column) in enumerate(parts):
        chosen = choose()
        chosen.where.core.append(which)
        if number == 0 and place is not None:
            chosen.where.core.append(_beyond(chosen.where, place, (column, listing.identity), rising=rising))
        room = page.size + 1 - len(rows)
        found = await _fetch(tx, listing, chosen, (column, rising, skip, room))
        rows += found
        if len(rows) > page.size:
            break
        if skip and number + 1 < len(parts):
            skip = 0 if found else max(0, skip - await _count_all(tx, listing, chosen))
    activities = [decode(row[0]).activity for row in rows]
    return activities[::-1] if backward else activities


def _beyond(where: Where, place: Place, columns: tuple[str | None, str], *, rising: bool) -> str:
    column, name = columns
    sign, identity = ">" if rising else "<", where.argument(place.activity_id, "uuid")
    if column is None:
        return f"{name} {sign} {identity}"
    return f"({column}, {name}) {sign} ({where.argument(place.key, 'timestamptz')}, {identity})"


async def _fetch(
    tx: Transaction, listing: Listing, chosen: Chosen, window: tuple[str | None, bool, int, int]
) -> Sequence[Any]:
    column, rising, skip, room = window
    where, way = chosen.where, "asc" if rising else "desc"
    if chosen.lanes == ():
        return []
    select = f"""select {listing.identity}, {listing.alias}.version, {column or "null::timestamptz"} as key
        from {listing.source}
        where {" and ".join((*where.core, *where.rest))}"""  # noqa: S608 - fixed texts; values are arguments
    sorted_by = ", ".join(f"{name} {way}" for name in (column or listing.otherwise, listing.identity) if name)
    order = f"order by {sorted_by} limit {skip + room}"
    if chosen.lanes is None:
        found = f"{select} {order}"
    else:
        found = " union all ".join(
            f"""select one.* from unnest({ids}) as who (id)
            cross join lateral ({select} and {name} = who.id {order}) as one"""  # noqa: S608
            for name, ids in chosen.lanes
        )
    return await tx.fetch(
        f"""with chosen as materialized (
            select * from ({found}) as found
            order by key {way}, activity_id {way} offset {skip} limit {room})
        select found.document from chosen
        cross join lateral (
            select h.document from history h
            where h.business_id = $1 and h.activity_id = chosen.activity_id and h.version = chosen.version
            limit 1) as found
        order by chosen.key {way}, chosen.activity_id {way}""",  # noqa: S608
        *where.arguments,
    )


async def count(tx: Transaction, listing: Listing, chosen: Chosen) -> Count:
    """Count exactly among the first rows that indexes find; from there on go by the planner's estimate."""
    if chosen.lanes == ():
        return Count(0)
    arguments = chosen.where.arguments
    looked_at, hits = (
        await tx.fetch(
            f"""
            select count(*), count(*) filter (where hit)
            from ({_found(listing, chosen, apart=True)} limit {LOOKED_AT_MAX}) as first
            """,  # noqa: S608 - fixed texts
            *arguments,
        )
    )[0]
    if looked_at < LOOKED_AT_MAX:
        return Count(hits)
    plan = await tx.value(f"explain (format json) {_found(listing, chosen)}", *arguments)
    estimate = _rows_of(orjson.loads(plan)[0]["Plan"], listing.table)
    return Count(max(hits, round(estimate * hits / looked_at)), is_estimate=True)


def _rows_of(plan: dict[str, Any], table: str) -> int:
    """Say how many rows of a table the planner expects to find."""
    if plan.get("Relation Name") == table:
        return int(plan["Plan Rows"])
    return sum(_rows_of(each, table) for each in plan.get("Plans", ()))


async def _count_all(tx: Transaction, listing: Listing, chosen: Chosen) -> int:
    number: int = await tx.value(
        f"select count(*) filter (where hit) from ({_found(listing, chosen)}) as found",  # noqa: S608
        *chosen.where.arguments,
    )
    return number


def _found(listing: Listing, chosen: Chosen, *, apart: bool = False) -> str:
    """Select the rows that indexes can find; `hit` says of each whether it is in the list. `apart`: each id of a lane
    by itself, for what is read; together they can be estimated.
    """
    where = chosen.where
    hit = " and ".join(where.rest) or "true"
    select = f"select {hit} as hit from {listing.source} where {' and '.join(where.core)}"  # noqa: S608 - as above
    if chosen.lanes is None:
        return select
    if apart:
        return " union all ".join(
            f"""select one.* from unnest({ids}) as who (id)
            cross join lateral ({select} and {name} = who.id offset 0) as one"""  # noqa: S608
            for name, ids in chosen.lanes
        )
    return " union all ".join(f"{select} and {name} = any({ids})" for name, ids in chosen.lanes)
