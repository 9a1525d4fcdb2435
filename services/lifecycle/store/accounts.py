"""Activities by the accounts they are linked to, as S2 lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from libs.access.sight import Sight, arguments_of, seen
from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.store.activities import decode
from services.lifecycle.store.privacy import HIDDEN, NOBODY

ACCOUNT = "account"
EVERY = UUID(int=0)
"""Stands for all accounts."""


class Linked(NamedTuple):
    """That an activity is linked to an account at a version, in the order of its columns."""

    business_id: UUID
    account_id: UUID
    activity_id: UUID
    version: int
    at: datetime


def linked_of(activity: contract.Activity) -> list[Linked]:
    """Say to which accounts an activity is linked; all accounts cover each of them."""
    links = [link for link in activity.links if link.object == ACCOUNT]
    found = {EVERY} if any(link.all for link in links) else {link.record_id for link in links}
    key = activity.activity_id, activity.version, activity.at
    return [Linked(activity.business_id, each, *key) for each in sorted(each for each in found if each is not None)]


async def save_linked(tx: Transaction, rows: Sequence[Linked]) -> None:
    """Keep to which accounts activities are linked; of several rows about one the highest version counts."""
    newest = {row[:3]: row for row in sorted(rows, key=lambda row: row.version)}
    await tx.execute(
        """
        insert into account_activity (business_id, account_id, activity_id, version, at)
        select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::timestamptz[]) order by 1, 2, 3
        on conflict (business_id, account_id, activity_id) do update set version = excluded.version, at = excluded.at
        """,
        *zip(*newest.values(), strict=True),
    )


_WHERE = f"""
    from account_activity l
    join activity a on a.business_id = l.business_id and a.activity_id = l.activity_id and a.version = l.version
    where l.business_id = $1 and l.account_id = any (array[$2, $3]::uuid[]) and a.deleted_at is null
        and not {HIDDEN.format(reader="$4::uuid")} and {seen("a", 5)}
    """


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose activities to list, for which member to see (None: for a caller who is none)."""

    business_id: UUID
    account_id: UUID
    reader_id: UUID | None
    sight: Sight | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Give what the condition asks for."""
        return self.business_id, self.account_id, EVERY, self.reader_id or NOBODY, *arguments_of(self.sight)


async def count_linked(tx: Transaction, wanted: Wanted) -> int:
    """Count the activities of an account that a caller may see."""
    count: int = await tx.value(f"select count(*) {_WHERE}", *wanted.arguments)
    return count


async def list_linked(tx: Transaction, wanted: Wanted, page: tuple[int, int]) -> list[contract.Activity]:
    """List a page of the activities of an account, newest first: (rows to skip, rows to show)."""
    rows = await tx.fetch(
        f"""
        with chosen as materialized (
            select l.business_id, l.activity_id, l.version, l.at {_WHERE}
            order by l.at desc, l.activity_id desc offset $11 limit $12)
        select h.document from chosen
        join history h using (business_id, activity_id, version) order by chosen.at desc, chosen.activity_id desc
        """,  # noqa: S608 - fixed texts
        *wanted.arguments, *page,
    )  # fmt: skip
    return [decode(row[0]).activity for row in rows]
