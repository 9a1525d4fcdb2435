"""Recurrences, and the versions of activities that their occurrences are made like."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain.recurrence import Series
from services.lifecycle.store.activities import Key, decode

_read = msgspec.json.Decoder(Series).decode
_write = msgspec.json.Encoder().encode


async def save_series(tx: Transaction, series: Series, ahead_until: date, *, over: bool) -> None:
    """Save a recurrence; `ahead_until`: up to which day its occurrences were looked at, `over`: none are to come."""
    await tx.execute(
        """
        insert into recurrence_series (business_id, id, mode, ahead_until, over, document)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (business_id, id) do update
        set ahead_until = excluded.ahead_until, over = excluded.over, document = excluded.document
        """,
        series.business_id, series.id, series.mode, ahead_until, over, _write(series),
    )  # fmt: skip


async def find_series(tx: Transaction, business_id: UUID, series_id: UUID) -> Series | None:
    """Read a recurrence."""
    document = await tx.value(
        "select document from recurrence_series where business_id = $1 and id = $2", business_id, series_id
    )
    return None if document is None else _read(document)


async def lock_series(tx: Transaction, keys: Collection[Key]) -> dict[Key, Series]:
    """Lock recurrences in the order of their keys, after the activities that are to be changed with them."""
    rows = await tx.fetch(
        """
        select found.*
        from (select * from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id) order by 1, 2) as wanted
        cross join lateral (
            select s.business_id, s.id, s.document from recurrence_series s
            where s.business_id = wanted.business_id and s.id = wanted.id for update) as found
        """,
        [business_id for business_id, _ in keys],
        [series_id for _, series_id in keys],
    )
    return {(row[0], row[1]): _read(row[2]) for row in rows}


async def claim_behind(tx: Transaction, ahead_until: date, limit: int) -> list[Series]:
    """Lock `fixed` recurrences whose occurrences are not made up to a day; those in somebody's hand are left out."""
    rows = await tx.fetch(
        """
        select document from recurrence_series where mode = 'fixed' and not over and ahead_until < $1
        order by business_id, id limit $2 for update skip locked
        """,
        ahead_until, limit,
    )  # fmt: skip
    return [_read(row[0]) for row in rows]


async def list_going_on(tx: Transaction, business_id: UUID, limit: int) -> list[Series]:
    """List recurrences of which more is to come."""
    rows = await tx.fetch(
        "select document from recurrence_series where business_id = $1 and not over order by id limit $2",
        business_id, limit,
    )  # fmt: skip
    return [_read(row[0]) for row in rows]


async def list_examples(
    tx: Transaction, versions: Sequence[tuple[UUID, UUID, int]]
) -> dict[tuple[UUID, UUID, int], contract.Activity]:
    """Read versions of activities; of one that was erased what is left of it."""
    rows = await tx.fetch(
        """
        select wanted.business_id, wanted.activity_id, wanted.version, found.document
        from unnest($1::uuid[], $2::uuid[], $3::int[]) as wanted (business_id, activity_id, version)
        cross join lateral (
            select coalesce(h.document, newest.document) as document
            from history h
            join activity a on a.business_id = h.business_id and a.activity_id = h.activity_id
            join history newest on newest.business_id = a.business_id and newest.activity_id = a.activity_id
                and newest.version = a.version
            where h.business_id = wanted.business_id and h.activity_id = wanted.activity_id
                and h.version = wanted.version limit 1) as found
        """,
        *_columns(versions),
    )
    return {(row[0], row[1], row[2]): decode(row[3]).activity for row in rows}


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(3)]
