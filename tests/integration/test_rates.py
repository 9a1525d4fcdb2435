"""Rate limits as callers see them: told with each answer, 429 with Retry-After beyond, others not touched."""

import pytest

from tests.conftest import MakeDatabase
from tests.support.http import served, settle


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE_REQUESTS_PER_S", "1")
    monkeypatch.setenv("RATE_BURST", "3")


async def test_what_is_left_is_told_and_beyond_it_is_429(make_database: MakeDatabase, narrow: None) -> None:
    database = await make_database("ingest")
    one, other = await settle(database), await settle(database)
    async with served("ingest", database) as client:
        answers = [await client.get("/ingest/receipts?source=a&source_ref=b", headers=one.headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:3]] == ["r=2", "r=1", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3'
        refused = answers[3]
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "too_many"
        assert "1 requests a second and 3 at once" in refused.json()["detail"]
        assert (await client.get("/ingest/receipts?source=a&source_ref=b", headers=other.headers)).status_code == 404
