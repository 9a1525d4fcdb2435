"""When a delivery is tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.webhook_dispatcher.domain.schedule import SCHEDULE_S, Next, next_attempt, retry_after_of

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY_S = 86_400.0


def test_schedule_is_the_published_one() -> None:
    assert SCHEDULE_S == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


@pytest.mark.parametrize("number", range(1, 10))
def test_each_wait_lies_in_the_upper_fifth_of_its_step(number: int) -> None:
    step = SCHEDULE_S[number - 1]
    latest = next_attempt(number, 500, 0.0, SCHEDULE_S, 0.0)
    earliest = next_attempt(number, 500, 0.0, SCHEDULE_S, 0.999999)
    assert latest == Next("pending", step)
    assert earliest.delay_s is not None
    assert 0.8 * step <= earliest.delay_s < 0.81 * step


def test_after_the_last_attempt_the_delivery_is_exhausted() -> None:
    assert next_attempt(10, 500, 0.0, SCHEDULE_S, 0.5) == Next("exhausted")
    assert next_attempt(10, None, 0.0, SCHEDULE_S, 0.5) == Next("exhausted")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert next_attempt(1, status, 0.0, SCHEDULE_S, 0.5) == Next("delivered")


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503, 599])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert next_attempt(1, status, 0.0, SCHEDULE_S, 0.0) == Next("pending", 5.0)


def test_410_ends_it_at_once_and_for_the_endpoint() -> None:
    assert next_attempt(1, 410, 0.0, SCHEDULE_S, 0.0) == Next("exhausted", gone=True)


def test_nothing_is_sent_before_retry_after() -> None:
    assert next_attempt(1, 429, 60.0, SCHEDULE_S, 0.9) == Next("pending", 60.0, pause_s=60.0)
    assert next_attempt(2, 503, 60.0, SCHEDULE_S, 0.0) == Next("pending", 300.0, pause_s=60.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("1", 1), ("120", 120), (" 7 ", 7), ("86400", DAY_S), ("86401", DAY_S), ("999999999999999", DAY_S),
        ("", 0), ("-5", 0), ("1.5", 0), ("soon", 0), ("1e3", 0), ("٣", 0), ("inf", 0), ("12 apples", 0), ("\x00", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), DAY_S),
        ("Wed, 04 Mar 2026 12:00:30 -0000", 30), ("Wed, 99 Mar 2026 12:00:30 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_nonsense_is_ignored(text: str, seconds: float) -> None:
    assert retry_after_of(429, {"retry-after": text}, NOW) == seconds


@pytest.mark.parametrize("status", [None, 200, 301, 404, 410, 500, 502])
def test_retry_after_counts_with_429_and_503_only(status: int | None) -> None:
    assert retry_after_of(status, {"retry-after": "60"}, NOW) == 0
    assert retry_after_of(503, {"retry-after": "60"}, NOW) == 60
