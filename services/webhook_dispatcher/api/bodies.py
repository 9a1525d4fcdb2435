"""Bodies of requests about endpoints, and how an endpoint is shown."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field

from libs.errors import Problem, Rejected
from libs.service.body import Body, Line, Text
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.subscriptions import TYPES, EventType
from services.webhook_dispatcher.signing import Scheme

SOURCES_MAX, OBJECTS_MAX = 100, 100
RATE_MIN_PER_S, RATE_MAX_PER_S = 0.01, 10_000.0
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 1.0, 30.0
SKIP_AFTER_S, SKIP_AFTER_MAX_S = 3_600.0, 86_400.0
RETRIES_MAX, WAIT_MIN_S, WAIT_MAX_S, WAITS_MAX_S = 15, 1.0, 3 * 86_400.0, 14 * 86_400.0
SHOWN = (
    "id", "version", "kind", "url", "description", "event_types", "rate_limit_per_s", "timeout_s", "ordered",
    "skip_after_s", "schedule_s", "activity_object_id", "status", "disabled_reason", "failing_since", "created_at",
    "updated_at",
)  # fmt: skip


class Filter(Body):
    """Which activities an endpoint hears of; an empty list lets everything through.

    `expression` is CEL over the body as it is sent in full: `type`, `timestamp`, `data`.
    """

    sources: Annotated[list[Annotated[str, Line(200)]], Field(max_length=SOURCES_MAX)] = Field(default_factory=list)
    activity_objects: Annotated[list[Annotated[str, Line(255)]], Field(max_length=OBJECTS_MAX)] = Field(
        default_factory=list
    )
    record_objects: Annotated[list[Annotated[str, Line(255)]], Field(max_length=OBJECTS_MAX)] = Field(
        default_factory=list
    )
    expression: Annotated[str, Text(expressions.LENGTH_MAX)] = ""


def _bounded(waits: list[float]) -> list[float]:
    if sum(waits) > WAITS_MAX_S:
        raise ValueError(f"must add up to at most {WAITS_MAX_S:.0f} s, add up to {sum(waits):.0f}")
    return waits


EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=len(TYPES))]
Wait = Annotated[float, Field(ge=WAIT_MIN_S, le=WAIT_MAX_S, allow_inf_nan=False)]
Schedule = Annotated[list[Wait], Field(max_length=RETRIES_MAX), AfterValidator(_bounded)]


class Manner(Body):
    """How an endpoint is sent to. What is null follows the service's own settings.

    `schedule_s`: the waits before each retry. `ordered`: versions of one activity are sent one after another; one that
    has not arrived for `skip_after_s` holds the later ones up no more.
    """

    body: Literal["full", "thin"] = "full"
    headers: dict[str, str] = Field(default_factory=dict)
    rate_limit_per_s: Annotated[float, Field(ge=RATE_MIN_PER_S, le=RATE_MAX_PER_S)] | None = None
    timeout_s: Annotated[float, Field(ge=TIMEOUT_MIN_S, le=TIMEOUT_MAX_S)] | None = None
    ordered: bool = False
    skip_after_s: Annotated[float, Field(ge=0, le=SKIP_AFTER_MAX_S)] = SKIP_AFTER_S
    schedule_s: Schedule | None = None


class NewEndpoint(Manner):
    """Body of POST /api/webhooks/endpoints.

    `signature`: `v1` by a secret that both sides have, `v1a` by a private key of which the receiver has the public one.
    """

    url: Annotated[str, Line(2_048)]
    event_types: EventTypes
    description: Annotated[str, Text(500)] = ""
    filter: Filter = Field(default_factory=Filter)
    signature: Scheme = "v1"


class EndpointChange(Manner):
    """Body of PATCH /api/webhooks/endpoints/{id}: what is named changes."""

    url: Annotated[str, Line(2_048)] = Field(default="")
    event_types: EventTypes = Field(default_factory=list)
    description: Annotated[str, Text(500)] = ""
    filter: Filter = Field(default_factory=Filter)
    paused: bool = False


class Rotation(Body):
    """Body of POST …/secret/rotate: how long the old secrets or keys stay valid, 24 h unless said, at most 7 days.

    `signature`: how the new one signs; null: as the newest does.
    """

    old_valid_s: Annotated[int, Field(ge=0, le=7 * 86_400)] = 86_400
    signature: Scheme | None = None


def show_endpoint(row: dict[str, Any]) -> dict[str, Any]:
    """Show an endpoint; its secret or private key is never part of it."""
    shown = {name: row[name] for name in SHOWN}
    shown["signature"] = row["signature"] or "v1"
    shown["public_keys"] = [signing.public_key_of(each) for each in row["public_keys"]]
    shown["body"], shown["headers"] = row["body_form"], orjson.loads(row["headers"])
    shown["paused"] = row["status"] == "paused"
    shown["filter"] = {name: row[name] for name in Filter.model_fields}
    return shown


def check_limit(limit: int, most: int) -> None:
    """Refuse a page size beyond the bound. Raises Rejected."""
    if not 1 <= limit <= most:
        message = f"must be 1 to {most}, is {limit}"
        raise Rejected(f"limit {message}", [Problem("limit", "limit_out_of_range", message)])
