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


class Link(NamedTuple):
    """A version as it is stored: what it covers, its hash, and the version its activity is at (None: has no row)."""

    skeleton: Skeleton
    content: bytes
    hash: bytes
    newest: int | None


class Walk:
    """Follows chains, given all versions in the order of their keys; says of each what is wrong with it."""

    def __init__(self) -> None:
        self._key: tuple[UUID, UUID] | None = None
        self._version = 0
        self._hash = GENESIS

    def follow(self, link: Link) -> list[str]:
        """Compare a version with the one before it."""
        skeleton = link.skeleton
        found = []
        if self._key != skeleton[:2]:
            self._key, self._version, self._hash = skeleton[:2], 0, GENESIS
            if link.newest is None:
                found.append("has a history, but there is no such activity")
        if skeleton.version != self._version + 1:
            found.append(f"comes after version {self._version}: versions between them are missing")
        elif hash_of(self._hash, skeleton, link.content) != link.hash:
            found.append("its hash differs: it or the version before it was changed")
        if link.newest is not None and skeleton.version > link.newest:
            found.append(f"is newer than the activity, which is at version {link.newest}")
        self._version, self._hash = skeleton.version, link.hash
        return found
