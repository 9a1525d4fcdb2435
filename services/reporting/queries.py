"""What the report routes are asked: ranges of days, filters, groups."""

import re
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from libs.errors import Problem, Rejected
from libs.service.body import Body, Line, Moment
from services.reporting.domain.buckets import FIRST_DAY, LAST_DAY, RANGE_MAX_DAYS, Granularity

DIMENSIONS = ("type", "state", "source", "source_kind", "direction", "agent")
PAGE_MAX = 200

Name = Annotated[str, Line(500, length_min=0)]


def _read_day(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError(f"is {value[:40]!r}; it must be a day such as 2026-01-31")
    return value


def _within(day: date) -> date:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"is {day}; days from {FIRST_DAY} to {LAST_DAY} are taken")
    return day


def _read_zone(name: str) -> str:
    zone_of(name)
    return name


def _read_groups(values: list[str]) -> list[str]:
    names = [name for value in values for name in value.split(",") if name]
    for name in names:
        if name not in DIMENSIONS:
            raise ValueError(f"has {name[:40]!r}; it takes {', '.join(DIMENSIONS)}")
    return list(dict.fromkeys(names))


Day = Annotated[date, BeforeValidator(_read_day), AfterValidator(_within)]


class RangeQuery(Body):
    """Days, both included, in `zone` (any IANA name; without it the business's), and filters; '' means no value."""

    first: Day = Field(alias="from")
    last: Day = Field(alias="to")
    zone: Annotated[str, AfterValidator(_read_zone)] | None = None
    type: Name | None = None
    state: Literal["scheduled", "overdue", "completed", "logged", "cancelled"] | None = None
    source: Name | None = None
    source_kind: Name | None = None
    direction: Literal["inbound", "outbound", ""] | None = None
    agent: Name | None = None
    min_version: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> "RangeQuery":
        if self.first > self.last:
            message = f"is {self.first}, after `to`, {self.last}"
            raise Rejected(f"from {message}", [Problem("from", "range_reversed", message)])
        return self

    def values(self) -> dict[str, str]:
        """Return the filters given."""
        return {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}


class VolumeQuery(RangeQuery):
    """How to divide: by time, and by what activities are (`group_by`: names with commas, or repeated)."""

    granularity: Granularity = "day"
    group_by: Annotated[list[str], AfterValidator(_read_groups)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _not_too_long(self) -> "VolumeQuery":
        _must_fit(self, self.granularity)
        return self


class RowsQuery(RangeQuery):
    """A page of rows. `as_of` says as of when scheduled is told from overdue: the moment of the number, else now."""

    as_of: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50
    cursor: str | None = None

    @model_validator(mode="after")
    def _not_too_long(self) -> "RowsQuery":
        _must_fit(self, "month")
        return self

    def filter_text(self) -> str:
        """Write all that the list depends on besides the business."""
        return self.model_dump_json(exclude={"limit", "cursor", "min_version"})


def _must_fit(query: RangeQuery, granularity: Granularity) -> None:
    days, days_max = (query.last - query.first).days + 1, RANGE_MAX_DAYS[granularity]
    if days > days_max:
        message = f"is {days} days after `from`; at most {days_max} are taken by {granularity}"
        raise Rejected(f"to {message}", [Problem("to", "range_too_long", message)])


def zone_of(name: str) -> ZoneInfo:
    """Return the zone of that name. Raises ValueError for one that is none."""
    if name not in _zones():
        raise ValueError(f"is {name[:40]!r}; it must be an IANA name such as Europe/Berlin")
    return ZoneInfo(name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
