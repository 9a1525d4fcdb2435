"""Lists of scheduled activities, and of the logged ones of an object."""

from datetime import datetime
from uuid import UUID

from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain.plans import Count, Filter, LoggedFilter, Page
from services.lifecycle.store import pages
from services.lifecycle.store.pages import Chosen, Listing, Where

_PLANNED = "a.planned_at is not null and a.deleted_at is null and a.cancelled_at is null"
_LOGGED = "a.logged_at is not null and a.deleted_at is null and a.same_as is null"
_DATED, _UNDATED = ("a.due_at is not null", "a.due_at"), ("a.due_at is null", None)
_LISTINGS = {
    "due_datetime": Listing((_DATED, _UNDATED), otherwise="a.due_at"),
    "created": Listing((("true", "a.created_at"),)),
    "logged_at": Listing((("true", "a.logged_at"),)),
}
"""By ordering."""


async def list_planned(
    tx: Transaction, business_id: UUID, wanted: Filter, now: datetime, page: Page
) -> list[contract.Activity]:
    """List a page of scheduled activities, and one more if there is one in the direction of the page."""
    listing, falling = _listing(wanted.ordering)
    return await pages.list_page(tx, listing, lambda: _planned(business_id, wanted, now), page, falling=falling)


async def list_logged(tx: Transaction, business_id: UUID, wanted: LoggedFilter, page: Page) -> list[contract.Activity]:
    """List a page of logged activities, and one more if there is one in the direction of the page."""
    listing, falling = _listing(wanted.ordering)
    return await pages.list_page(tx, listing, lambda: _logged(business_id, wanted), page, falling=falling)


async def count_planned(tx: Transaction, business_id: UUID, wanted: Filter, now: datetime) -> Count:
    """Count the scheduled activities that a filter lets through."""
    return await pages.count(tx, _listing(wanted.ordering)[0], _planned(business_id, wanted, now))


async def count_logged(tx: Transaction, business_id: UUID, wanted: LoggedFilter) -> Count:
    """Count the logged activities that a filter lets through."""
    return await pages.count(tx, _listing(wanted.ordering)[0], _logged(business_id, wanted))


def _listing(ordering: str) -> tuple[Listing, bool]:
    """Find the list that an ordering asks for, and whether it falls."""
    return _LISTINGS[ordering.removeprefix("-")], ordering.startswith("-")


def _planned(business_id: UUID, wanted: Filter, now: datetime) -> Chosen:
    where = Where(business_id, "a.business_id = $1", _PLANNED)
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
        return Chosen(where)
    columns = ("a.assignee_member_id", wanted.member_ids), ("a.assignee_role_id", wanted.role_ids)
    assignees = [(name, where.argument(sorted(set(ids)), "uuid[]")) for name, ids in columns if ids]
    return Chosen(where, tuple(assignees))


def _logged(business_id: UUID, wanted: LoggedFilter) -> Chosen:
    where = Where(business_id, "a.business_id = $1", _LOGGED)
    where.core.append(f"a.type_id = {where.argument(wanted.type_id, 'uuid')}")
    where.span("a.logged_at", wanted.logged_from, wanted.logged_before)
    if wanted.completed is not None:
        where.rest.append(f"a.completed_at is {'not ' if wanted.completed else ''}null")
    if wanted.retracted is not None:
        where.rest.append(f"a.retracted_at is {'not ' if wanted.retracted else ''}null")
    where.see(wanted.sight, wanted.reader_id)
    return Chosen(where)


def _pattern(text: str) -> str:
    escaped = text.lower().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
