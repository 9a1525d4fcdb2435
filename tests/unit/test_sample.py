"""The sample: the same seed gives the same bytes, every kind is there, every report is acceptable."""

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from cli.sample.generate import LONG_MESSAGES, Sample, generate
from cli.sample.memory import Made, Memory
from services.ingest import closing, domain, reading
from services.ingest.domain import Arrival

BASE = date(2026, 11, 21)
ACTIVITIES = 900


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return generate(7, ACTIVITIES, BASE)


def reports_of(samples: list[Sample]) -> list[dict[str, object]]:
    return [orjson.loads(line) for sample in samples for line in sample.reports]


def test_same_seed_makes_the_same_bytes(samples: list[Sample]) -> None:
    assert generate(7, ACTIVITIES, BASE) == samples


def test_another_seed_makes_others(samples: list[Sample]) -> None:
    other = generate(8, ACTIVITIES, BASE)
    assert not set(other[0].reports) & set(samples[0].reports)


def test_larger_sample_begins_with_the_smaller_one(samples: list[Sample]) -> None:
    for small, large in zip(samples, generate(7, 2 * ACTIVITIES, BASE), strict=True):
        assert large.reports[: len(small.reports)] == small.reports
        assert large.records == small.records
        assert large.conversations[: len(small.conversations)] == small.conversations


def test_every_report_is_acceptable(samples: list[Sample]) -> None:
    arrival = Arrival(UUID(int=1), datetime(2026, 11, 21, tzinfo=UTC))
    for sample in samples:
        for line in sample.reports:
            domain.accept(arrival, reading.read_report(line))


def test_every_kind_of_life_is_there(samples: list[Sample]) -> None:
    for sample in samples:
        reports = reports_of([sample])
        assert {report["action"] for report in reports} == {"schedule", "log", "complete", "cancel", "append"}
        plans = [report for report in reports if report["action"] == "schedule"]
        assert any("due_at" not in plan for plan in plans)
        assert any(len(str(plan.get("due_at"))) == 10 for plan in plans)
        assert any(str(plan.get("due_at", "9")) < BASE.isoformat() for plan in plans)
        assert {report["source"] for report in reports} == {"phone-system", "calendar", "crm"}
        assert {entry.kind for entry in sample.by_hand} == {"plan", "log"}


def test_refs_name_each_report_once(samples: list[Sample]) -> None:
    refs = [report["source_ref"] for report in reports_of(samples)]
    assert len(refs) == len(set(refs))


def test_every_activity_is_counted_once_unless_retracted(samples: list[Sample]) -> None:
    reports = reports_of(samples)
    activities = {report["activity_ref"] for report in reports} | {e.key for s in samples for e in s.by_hand}
    retracted = {report["activity_ref"] for report in reports if report.get("kind") == "retraction"}
    assert len(activities) == ACTIVITIES
    conversations = sum(len(sample.conversations) for sample in samples)
    assert sum(sample.countable for sample in samples) == ACTIVITIES - len(retracted) + conversations


def test_conversations_are_acceptable_short_long_and_without_messages(samples: list[Sample]) -> None:
    arrival = Arrival(UUID(int=1), datetime(2026, 11, 21, tzinfo=UTC))
    for sample in samples:
        heads = [
            closing.accept(arrival, reading.read_interaction(orjson.dumps(each))).head for each in sample.conversations
        ]
        assert len({head.interaction_id for head in heads}) == len(heads) == ACTIVITIES // 30
        assert max(head.messages_count for head in heads) == LONG_MESSAGES
        assert min(head.messages_count for head in heads) == 0
        assert {head.channel for head in heads} > {"voice", "whatsapp"}


def test_text_runs_both_ways_and_has_emoji(samples: list[Sample]) -> None:
    text = "".join(str(report) for report in reports_of(samples))
    assert any("\u0590" <= letter <= "\u05ff" for letter in text)
    assert any("\u0600" <= letter <= "\u06ff" for letter in text)
    assert any(letter > "\U0001f300" for letter in text)


def test_members_have_plain_addresses(samples: list[Sample]) -> None:
    addresses = [member["email"] for sample in samples for member in sample.members]
    assert len(addresses) == len(set(addresses))
    assert "lukasz.nowak@klinik-havelland.example" in addresses
    assert all(address.isascii() for address in addresses)


def test_businesses_are_remembered_by_seed(tmp_path: Path) -> None:
    path = tmp_path / "samples.json"
    first = Memory.read(path, 7, BASE)
    first.businesses["finance"] = Made("id", "key", "user", roles={"Operations": "role"})
    first.write()
    assert Memory.read(path, 7, date(2030, 1, 1)) == first
    assert Memory.read(path, 8, date(2030, 1, 1)).businesses == {}
    assert path.stat().st_mode & 0o777 == 0o600
