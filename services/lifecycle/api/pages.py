"""Pages of lists: numbered, but found by the row they follow, so that a late page is as fast as the first."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BeforeValidator, Field

from libs.contracts import activity as contract
from libs.contracts.ids import instant_text
from libs.errors import Problem, Rejected
from libs.service.body import Body, Line
from libs.service.cursors import decode_cursor, encode_cursor
from services.lifecycle.api.answers import shown_logged, shown_scheduled
from services.lifecycle.api.callers import Caller, refuse
from services.lifecycle.domain.held import Activity
from services.lifecycle.domain.plans import Count, Page, Place
from services.lifecycle.domain.rights import EVERYTHING

FIELDS_MAX = 50
PAGES_MAX = 1_000_000
Cursor = Annotated[str, Line(1_000)]

_SAMPLE = Activity(
    business_id=UUID(int=0), activity_id=UUID(int=0), version=1, type="", type_id=UUID(int=0), type_name="",
    at=datetime.min.replace(tzinfo=UTC), created_at=datetime.min.replace(tzinfo=UTC),
    recorded_at=datetime.min.replace(tzinfo=UTC),
)  # fmt: skip
SCHEDULED_NAMES = tuple(shown_scheduled(_SAMPLE, None, _SAMPLE.at, EVERYTHING))
LOGGED_NAMES = tuple(shown_logged(_SAMPLE, None, (), _SAMPLE.at))
"""What is shown of an activity in its scheduled, and of one in its logged life."""


def _split(value: Any) -> Any:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return value
    return [name for text in value for name in text.split(",") if name]


FieldNames = Annotated[list[Annotated[str, Line(100)]], BeforeValidator(_split), Field(max_length=FIELDS_MAX)]
"""Names of what to show, as a list or with commas between them; none: everything. The id is always shown."""


class PageBody(Body):
    """Which page of a list. `cursor` comes with `next` and `previous`: the page is then found at once, wherever."""

    page: int = Field(1, ge=1, le=PAGES_MAX)
    page_size: int = Field(100, ge=1, le=1_000)
    cursor: Cursor | None = None


class ShownBody(Body):
    """What to show of a thing."""

    fields: FieldNames = Field(default_factory=list)


class Turned(NamedTuple):
    """A page: its rows, how many rows the list has, links to its neighbours."""

    rows: Sequence[contract.Activity]
    total: int
    next: str | None
    previous: str | None


class Pager:
    """One page of a list: where it begins, and how it is answered.

    `wanted` is the whole filter: a cursor belongs to the list it came from. `key` is what the list is ordered by.
    """

    def __init__(
        self, caller: Caller, page: PageBody, wanted: Any, key: Callable[[contract.Activity], datetime | None]
    ) -> None:
        self._caller, self._body, self._key = caller, page, key
        self._filter_text = f"{caller.request.url.path.removesuffix('/search')}\x1f{wanted!r}"
        self.page = Page(page.page_size, (page.page - 1) * page.page_size)
        if page.cursor is not None:
            self.page = Page(page.page_size, 0, self._read(page.cursor))

    def whole(self, found: Sequence[contract.Activity]) -> Count | None:
        """Count a list that is on its first page altogether; None: it is longer, or this is another page."""
        page = self.page
        return Count(len(found)) if page.place is None and not page.skip and len(found) <= page.size else None

    def turned(self, found: Sequence[contract.Activity], count: Count) -> Turned:
        """Cut a page out of `found`, which has one row more where the list goes on in the page's direction."""
        place, size, number = self.page.place, self.page.size, self._body.page
        backward = place is not None and place.backward
        more = len(found) > size
        rows = found[-size:] if backward else found[:size]
        following = more or backward
        return Turned(
            rows,
            max(count.number, (number - 1) * size + len(rows)) if count.is_estimate else count.number,
            self._link(number + 1, rows[-1], backward=False) if following and rows else None,
            self._previous(rows, more=more, backward=backward),
        )

    def envelope(
        self, found: Sequence[contract.Activity], count: Count, show: Callable[[contract.Activity], Any]
    ) -> dict[str, Any]:
        """Put a page into S1's envelope. `found` has one row more where the list goes on in the page's direction."""
        turned = self.turned(found, count)
        return {
            "count": turned.total,
            "count_is_estimate": count.is_estimate,
            "next": turned.next,
            "previous": turned.previous,
            "results": [show(each) for each in turned.rows],
            "errors": [],
        }

    def _previous(self, rows: Sequence[contract.Activity], *, more: bool, backward: bool) -> str | None:
        number = self._body.page
        if number == 1 or (backward and not more):
            return None
        return self._link(number - 1, rows[0] if rows else None, backward=True)

    def _link(self, number: int, row: contract.Activity | None, *, backward: bool) -> str:
        request = self._caller.request
        values = [(name, value) for name, value in request.query_params.multi_items() if name not in ("page", "cursor")]
        values.append(("page", str(number)))
        if row is not None:
            key = self._key(row)
            place = [backward, None if key is None else instant_text(key), str(row.activity_id)]
            values.append(("cursor", encode_cursor(self._caller.principal, self._filter_text, place)))
        return f"{request.url.path}?{urlencode(values)}"

    def _read(self, cursor: str) -> Place:
        with suppress(ValueError):
            match decode_cursor(self._caller.principal, self._filter_text, cursor):
                case [bool(backward), str() | None as key, str(identity)]:
                    return Place(backward, None if key is None else datetime.fromisoformat(key), UUID(identity))
        message = "is not a cursor of this list; take `next` of an earlier answer as it is"
        raise Rejected(f"cursor {message}", [Problem("cursor", "cursor_invalid", message)])


def chosen(shown: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Keep what was asked for, and the id; nothing asked for: everything."""
    return {name: shown[name] for name in ("id", *names)} if names else shown


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of what is not shown. Raises Rejected."""
    message = f"is not one of {', '.join(known)}"
    refuse([Problem("fields", "unknown_field", f"{name!r} {message}") for name in names if name not in known])
