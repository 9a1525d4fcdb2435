"""The chain of an activity's versions: each hash covers the one before it, so that no version can be changed unseen.

    hash = SHA-256(1 ‖ previous ‖ business ‖ activity ‖ version ‖ at ‖ by ‖ content hash ‖ type)
    content hash = SHA-256(salt ‖ document)

All parts but the last have a fixed length: 1 byte for this format, 32 zero bytes before version 1, big-endian numbers,
`at` in microseconds since 1970, `by` the member (16 zero bytes: none). A document and its salt can be erased; their
hash then stands for them, and without the salt nobody can try texts against it.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from uuid import UUID

SALT_BYTES = 16
GENESIS = bytes(32)
NOBODY = bytes(16)
_PARTS = Struct(">B32s16s16siq16s32s")
_FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Skeleton(NamedTuple):
    """What is kept of a version when its content is erased."""

    business_id: UUID
    activity_id: UUID
    version: int
    type: str
    at: datetime
    by: UUID | None


def content_hash_of(salt: bytes, document: bytes) -> bytes:
    """Hash a version's document with its salt."""
    return sha256(salt + document).digest()


def hash_of(previous: bytes, version: Skeleton, content_hash: bytes) -> bytes:
    """Hash a version onto the chain that ends with `previous`."""
    parts = _PARTS.pack(
        _FORMAT, previous, version.business_id.bytes, version.activity_id.bytes, version.version,
        (version.at - _EPOCH) // _MICROSECOND, version.by.bytes if version.by is not None else NOBODY, content_hash,
    )  # fmt: skip
    return sha256(parts + version.type.encode()).digest()
