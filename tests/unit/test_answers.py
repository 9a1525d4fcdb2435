"""Answers write instants and ids as every service reads them."""

from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pytest

from libs.contracts.ids import instant_text, quick
from libs.service.answers import json_answer

IDENTITY = "0192f0c1-7a64-7bb0-8c5e-1f2e3d4c5b6a"


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 1, 2, 3, 456, tzinfo=UTC),
        datetime(1900, 1, 1, tzinfo=timezone(timedelta(0))),
        datetime(2200, 12, 31, 23, 59, 59, 999_999, tzinfo=ZoneInfo("UTC")),
        datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
)
def test_instants_are_written_as_in_events(instant: datetime) -> None:
    assert orjson.loads(json_answer([instant]).body) == [instant_text(instant)]


def test_days_and_ids_of_the_driver_are_written_as_text() -> None:
    body = json_answer({"day": date(2026, 1, 31), UUID(IDENTITY): quick(IDENTITY)}).body
    assert orjson.loads(body) == {"day": "2026-01-31", IDENTITY: IDENTITY}
