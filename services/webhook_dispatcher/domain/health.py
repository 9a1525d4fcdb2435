"""When an endpoint that keeps failing is warned about, and when it is disabled (design: policies).

Failing for 5 days, with failures at least 12 h apart; the owner is warned at half of that.
"""

from datetime import datetime, timedelta
from typing import Literal

DISABLED_AFTER = timedelta(days=5)
WARNED_AFTER = DISABLED_AFTER / 2
APART_MIN = timedelta(hours=12)


def judge(
    failing_since: datetime, last_failed_at: datetime | None, warned_at: datetime | None, now: datetime
) -> Literal["well", "warn", "disable"]:
    """Decide about an endpoint none of whose deliveries has arrived since `failing_since`."""
    if last_failed_at is None or last_failed_at - failing_since < APART_MIN:
        return "well"
    if now - failing_since >= DISABLED_AFTER:
        return "disable"
    warned = warned_at is not None and warned_at >= failing_since
    return "warn" if now - failing_since >= WARNED_AFTER and not warned else "well"
