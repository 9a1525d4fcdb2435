"""Identities, states and the fast reading of events."""

import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import ids
from libs.contracts.activity import Times, state_of
from libs.contracts.decoding import decoder_of
from libs.contracts.topics import TOPICS

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@given(st.uuids())
def test_a_ulid_is_the_same_128_bits(identity: uuid.UUID) -> None:
    assert ids.uuid_of(ids.ulid_of(identity)) == identity
    assert len(ids.ulid_of(identity)) == 26


@given(st.uuids(), st.text(max_size=50))
def test_derived_ids_are_uuid5(namespace: uuid.UUID, name: str) -> None:
    name = name.encode("utf-8", "ignore").decode()
    assert ids.uuid5(namespace, name) == uuid.uuid5(namespace, name)


@given(st.uuids(), st.uuids())
def test_a_key_is_read_back(business_id: uuid.UUID, subject_id: uuid.UUID) -> None:
    assert ids.split_key(ids.key_of(business_id, subject_id)) == (business_id, subject_id)


@pytest.mark.parametrize("key", [b"", b"no-slash", b"a/b", b"\xff\xfe"])
def test_a_foreign_key_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|UUID|decode"):
        ids.split_key(key)


def test_two_sources_never_share_an_activity() -> None:
    business = uuid.uuid4()
    assert ids.activity_id_of(business, "a", "bc") != ids.activity_id_of(business, "ab", "c")


EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("times", "word"),
    [
        (Times(), "scheduled"),
        (Times(due_at=LATER), "scheduled"),
        (Times(due_at=EARLIER), "overdue"),
        (Times(cancelled_at=EARLIER, due_at=EARLIER), "cancelled"),
        (Times(logged_at=NOW), "logged"),
        (Times(logged_at=NOW, completed_at=NOW), "completed"),
        (Times(logged_at=NOW, completed_at=NOW, cancelled_at=EARLIER), "completed"),
        (Times(logged_at=NOW, deleted_at=NOW), "deleted"),
    ],
)
def test_the_state_follows_from_the_times(times: Times, word: str) -> None:
    assert state_of(times, NOW) == word


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_shape_can_be_read_fast_and_refuses_what_is_not_it(topic: object) -> None:
    decode = decoder_of(topic.model)  # type: ignore[attr-defined]
    with pytest.raises(msgspec.ValidationError):
        decode(b"{}")
