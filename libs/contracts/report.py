"""A report of an upstream system on its way to lifecycle, and what became of it."""

from datetime import date
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from libs.contracts.activity import AppendKind, Direction, Link
from libs.contracts.event import Event, Instant, Shape

Action = Literal["schedule", "log", "complete", "cancel", "append"]
Outcome = Literal["applied", "unchanged", "waiting", "refused", "set_aside"]


class ReportBody(Shape):
    """What the upstream system said, checked for form. `type` is an api_name or an id; `due_date` a due without time.

    `assignee` and `actor` are a member's id or e-mail address, a role's id, or any name; so are `participants`.
    """

    source: str
    source_ref: str
    action: Action
    activity_ref: str | None = None
    type: str | None = None
    due_at: Instant | None = None
    due_date: date | None = None
    occurred_at: Instant | None = None
    duration_min: int | None = None
    subject: str | None = None
    summary: str | None = None
    notes: str | None = None
    direction: Direction | None = None
    location: str | None = None
    assignee: str | None = None
    actor: str | None = None
    participants: list[str] = Field(default_factory=list)
    links: list[Link] = Field(default_factory=list)
    fields: dict[str, Any] = Field(default_factory=dict)
    attachments: list[str] = Field(default_factory=list)
    first_message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    kind: AppendKind | None = None
    text: str | None = None
    url: str | None = None


class ReportReceived(Event):
    """`activity.received`: a report, accepted durably. `known_only`: it named an `activity_id` that must exist."""

    receipt_id: UUID
    business_id: UUID
    activity_id: UUID
    received_at: Instant
    known_only: bool = False
    report: ReportBody


class Reason(Shape):
    """Why a report was refused, or what it waits for."""

    field: str
    code: str
    message: str


class ReportAnswered(Event):
    """`activity.answered`: what became of the report with that receipt."""

    receipt_id: UUID
    business_id: UUID
    activity_id: UUID
    outcome: Outcome
    answered_at: Instant
    version: int | None = None
    reasons: list[Reason] = Field(default_factory=list)
