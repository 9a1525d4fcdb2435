"""The chain of versions: what goes into a hash, and that nothing of it can differ unseen."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from services.lifecycle.domain.chain import GENESIS, Skeleton, content_hash_of, hash_of

BUSINESS, ACTIVITY, MEMBER = UUID(int=1), UUID(int=2), UUID(int=3)
AT = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
VERSION = Skeleton(BUSINESS, ACTIVITY, 7, "activity.updated", AT, MEMBER)
CONTENT = content_hash_of(b"s" * 16, b"{}")


def test_the_bytes_of_the_frame_are_those_the_format_says() -> None:
    micros = 1_772_355_600_123_456
    frame = b"".join(
        [b"\x01", GENESIS, BUSINESS.bytes, ACTIVITY.bytes, (7).to_bytes(4, "big"), micros.to_bytes(8, "big"),
         MEMBER.bytes, CONTENT, b"activity.updated"]
    )  # fmt: skip
    assert hash_of(GENESIS, VERSION, CONTENT) == sha256(frame).digest()


@pytest.mark.parametrize(
    "other",
    [
        {"business_id": UUID(int=9)},
        {"activity_id": UUID(int=9)},
        {"version": 8},
        {"type": "activity.update"},
        {"at": AT + timedelta(microseconds=1)},
        {"by": None},
        {"by": UUID(int=9)},
    ],
)
def test_another_skeleton_has_another_hash(other: dict[str, object]) -> None:
    assert hash_of(GENESIS, VERSION._replace(**other), CONTENT) != hash_of(GENESIS, VERSION, CONTENT)  # type: ignore[arg-type]


def test_another_salt_document_or_previous_hash_makes_another_hash() -> None:
    assert content_hash_of(b"t" * 16, b"{}") != CONTENT
    assert content_hash_of(b"s" * 16, b"[]") != CONTENT
    assert hash_of(b"p" * 32, VERSION, CONTENT) != hash_of(GENESIS, VERSION, CONTENT)
