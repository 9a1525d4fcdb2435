"""Activities by the accounts they are linked to, as S2 lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.access.sight import Sight
from libs.contracts import activity as contract
from libs.contracts.activity import links_shown
from libs.database import Transaction
from services.lifecycle.domain.plans import Count, Page
from services.lifecycle.store import pages
from services.lifecycle.store.pages import Chosen, Listing, Where

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
    links = [link for link in links_shown(activity) if link.object == ACCOUNT]
    if not links:
        return []
    found = {EVERY} if any(link.all for link in links) else {link.record_id for link in links}
    key = activity.activity_id, activity.version, activity.at
    return [Linked(activity.business_id, each, *key) for each in sorted(each for each in found if each is not None)]


async def save_linked(tx: Transaction, rows: Sequence[Linked]) -> None:
    """Keep to which accounts activities are linked; of several rows about one the highest version counts."""
    newest = {row[:3]: row for row in sorted(rows, key=lambda row: row.version)}.values()
    new = [row for row in newest if row.version == 1]  # of a new activity: there is no row to be found first
    later = [row for row in newest if row.version > 1]
    if new:
        await tx.insert(_INSERT, *zip(*new, strict=True))
    if later:
        await tx.execute(_UPSERT, *zip(*later, strict=True))


_INSERT = """
    insert into account_activity (business_id, account_id, activity_id, version, at)
    select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::timestamptz[]) order by 1, 2, 3
    """
_UPSERT = f"""
    {_INSERT}
    on conflict (business_id, account_id, activity_id) do update set version = excluded.version, at = excluded.at
    """

_LISTING = Listing(
    (("true", "l.at"),),
    table="account_activity",
    alias="l",
    beside="""cross join lateral (
        select * from activity where business_id = l.business_id and activity_id = l.activity_id limit 1) as a""",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The activities of accounts that are one: what the caller sees (None: all), from whom some are hidden (None: from
    nobody).
    """

    account_ids: tuple[UUID, ...]
    sight: Sight | None = None
    reader_id: UUID | None = None


async def count_linked(tx: Transaction, business_id: UUID, wanted: Wanted) -> Count:
    """Count the activities of an account that a caller may see."""
    return await pages.count(tx, _LISTING, _linked(business_id, wanted))


async def list_linked(tx: Transaction, business_id: UUID, wanted: Wanted, page: Page) -> list[contract.Activity]:
    """List a page of the activities of an account, newest first, and one more if the list goes on in its direction."""
    return await pages.list_page(tx, _LISTING, lambda: _linked(business_id, wanted), page, falling=True)


def _linked(business_id: UUID, wanted: Wanted) -> Chosen:
    """Choose what is linked to the account or to all accounts, at the version that the activity is at."""
    where = Where(business_id, "l.business_id = $1")
    where.rest += ["a.version = l.version", "a.deleted_at is null", "a.same_as is null"]
    where.see(wanted.sight, wanted.reader_id)
    ids = where.argument([*wanted.account_ids, EVERY], "uuid[]")
    if len(wanted.account_ids) > 1:
        where.rest.append(f"""not exists (
            select from unnest({ids}) as other (id) cross join lateral (
                select version from account_activity where business_id = l.business_id and account_id = other.id
                    and activity_id = l.activity_id limit 1) as o
            where other.id < l.account_id and o.version = l.version)""")  # noqa: S608 - fixed texts
    return Chosen(where, (("l.account_id", ids),))
