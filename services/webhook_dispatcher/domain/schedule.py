"""When a delivery is tried again, and when no more (design: policies)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

MINUTE_S, HOUR_S = 60.0, 3600.0
SCHEDULE_S = (5.0, 5 * MINUTE_S, 30 * MINUTE_S, *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)))
JITTER = 0.2
RETRY_AFTER_MAX_S = 24 * HOUR_S
GONE = 410
WAITING = (429, 503)
"""With these a receiver may say Retry-After."""

Status = Literal["pending", "delivered", "exhausted"]


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a delivery after an attempt: `delay_s` until the next one, None when there is none.

    `pause_s`: the whole endpoint is left alone for that long. `gone`: the receiver does not want any more, ever.
    """

    status: Status
    delay_s: float | None = None
    pause_s: float = 0.0
    gone: bool = False


def next_attempt(number: int, http_status: int | None, wait_s: float, schedule_s: Sequence[float], dice: float) -> Next:
    """Decide after attempt `number` (from 1). `wait_s` is the receiver's Retry-After, `dice` lies in [0, 1).

    The jitter is over the upper 20 % of each wait, and never before Retry-After.
    """
    if http_status is not None and 200 <= http_status < 300:
        return Next("delivered")
    if http_status == GONE:
        return Next("exhausted", gone=True)
    if number > len(schedule_s):
        return Next("exhausted", pause_s=wait_s)
    delay_s = schedule_s[number - 1] * (1 - JITTER * dice)
    return Next("pending", max(delay_s, wait_s), pause_s=wait_s)


def retry_after_of(http_status: int | None, headers: Mapping[str, str], now: datetime) -> float:
    """Read Retry-After of a 429 or 503: seconds from now, at most 24 h; 0 where there is none or it is nonsense."""
    if http_status not in WAITING:
        return 0.0
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text) if len(text) <= 9 else RETRY_AFTER_MAX_S
    else:
        seconds = _seconds_until(text, now)
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def _seconds_until(text: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
