"""Bodies of requests about endpoints, and how an endpoint is shown."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from libs.errors import Problem, Rejected
from libs.service.body import Body, Line, Text
from services.webhook_dispatcher.domain.subscriptions import EventType

SOURCES_MAX, OBJECTS_MAX = 100, 100
SHOWN = (
    "id", "version", "url", "description", "event_types", "status", "disabled_reason", "failing_since", "created_at",
    "updated_at",
)  # fmt: skip


class Filter(Body):
    """Which activities an endpoint hears of; an empty list lets everything through."""

    sources: Annotated[list[Annotated[str, Line(200)]], Field(max_length=SOURCES_MAX)] = Field(default_factory=list)
    activity_objects: Annotated[list[Annotated[str, Line(255)]], Field(max_length=OBJECTS_MAX)] = Field(
        default_factory=list
    )
    expression: Annotated[str, Text(2_000)] = ""

    @field_validator("expression")
    @classmethod
    def _empty(cls, value: str) -> str:
        if value:
            raise ValueError("expressions are not supported yet: leave it empty, filter by sources or activity_objects")
        return value


EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=3)]


class NewEndpoint(Body):
    """Body of POST /api/webhooks/endpoints."""

    url: Annotated[str, Line(2_048)]
    event_types: EventTypes
    description: Annotated[str, Text(500)] = ""
    filter: Filter = Field(default_factory=Filter)


class EndpointChange(Body):
    """Body of PATCH /api/webhooks/endpoints/{id}: what is named changes."""

    url: Annotated[str, Line(2_048)] = Field(default="")
    event_types: EventTypes = Field(default_factory=list)
    description: Annotated[str, Text(500)] = ""
    filter: Filter = Field(default_factory=Filter)
    paused: bool = False


class Rotation(Body):
    """Body of POST …/secret/rotate: how long the old secrets stay valid, 24 h unless said, at most 7 days."""

    old_valid_s: Annotated[int, Field(ge=0, le=7 * 86_400)] = 86_400


def show_endpoint(row: dict[str, Any]) -> dict[str, Any]:
    """Show an endpoint; its secret is never part of it."""
    shown = {name: row[name] for name in SHOWN}
    shown["paused"] = row["status"] == "paused"
    shown["filter"] = {"sources": row["sources"], "activity_objects": row["activity_objects"], "expression": ""}
    return shown


def check_limit(limit: int, most: int) -> None:
    """Refuse a page size beyond the bound. Raises Rejected."""
    if not 1 <= limit <= most:
        message = f"must be 1 to {most}, is {limit}"
        raise Rejected(f"limit {message}", [Problem("limit", "limit_out_of_range", message)])
