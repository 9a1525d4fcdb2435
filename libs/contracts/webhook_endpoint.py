"""What happens to the endpoints of webhooks themselves, for those who operate them."""

from typing import Literal
from uuid import UUID

from libs.contracts.event import Event, Instant

Status = Literal["active", "paused", "disabled"]


class WebhookEndpoint(Event):
    """An endpoint keeps failing, was disabled, or was enabled again; its state at this version.

    `reason` of one that is disabled: `failing`, `gone` (it answered 410), `by_owner`, `url_refused`. `disables_at`:
    when one that keeps failing will be disabled. No secret and no header is part of it.
    """

    business_id: UUID
    id: UUID
    version: int
    at: Instant
    url: str
    status: Status
    reason: str | None = None
    failing_since: Instant | None = None
    disables_at: Instant | None = None
