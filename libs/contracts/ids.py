"""Identities that follow from what a thing is, so that everybody derives the same one (design: identity)."""

import hashlib
import zlib
from datetime import datetime
from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto

SEPARATOR = "\x1f"  # ␟, which no name or ref may contain
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def uuid7() -> UUID:
    """Make a new UUIDv7 (RFC 9562); sorts by time of making."""
    return UUID(int=uuid_utils.uuid7().int)


def uuid5(namespace: UUID, name: str) -> UUID:
    """As `uuid.uuid5` (RFC 9562, SHA-1), at a third of the cost: the driver's subclass is made and written in C."""
    digest = bytearray(hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return pgproto.UUID(bytes(digest))


def quick(identity: UUID | str) -> UUID:
    """Give the driver's subclass of a UUID, or of its text: compared, hashed, sorted, bound to statements and written
    as text in C, which for one that is used more than twice is less than reading it costs. Raises ValueError.
    """
    return pgproto.UUID(identity) if isinstance(identity, str) else pgproto.UUID(identity.bytes)


def activity_id_of(business_id: UUID, source: str, ref: str) -> UUID:
    """Derive the activity that `source` calls `ref` (its `activity_ref`, else its `source_ref`)."""
    return uuid5(business_id, f"{source}{SEPARATOR}{ref}")


def interaction_id_of(business_id: UUID, source: str, ref: str) -> UUID:
    """Derive the conversation that `source` calls `ref`; a UUID given as its id is its id."""
    return uuid5(business_id, f"interaction{SEPARATOR}{source}{SEPARATOR}{ref}")


def activity_id_of_interaction(interaction_id: UUID) -> UUID:
    """Derive the activity that is made when a conversation is closed."""
    return uuid5(interaction_id, "closed")


def receipt_id_of(business_id: UUID, source: str, source_ref: str) -> UUID:
    """Derive the receipt of the report that `source` calls `source_ref`."""
    return uuid5(business_id, f"receipt{SEPARATOR}{source}{SEPARATOR}{source_ref}")


def record_id_of(business_id: UUID, object_name: str, external_ref: str) -> UUID:
    """Derive the record with that external ref, which may not exist yet."""
    return uuid5(business_id, f"{object_name}{SEPARATOR}{external_ref}")


def preset_id_of(business_id: UUID, kind: str, api_name: str) -> UUID:
    """Derive a preset of a business: `kind` is `activity_object` or `record_object`."""
    return uuid5(business_id, f"{kind}{SEPARATOR}{api_name}")


def event_id_of(subject_id: UUID, event_type: str, version: int | str) -> UUID:
    """Derive an event's id: the same fact always has the same one."""
    return uuid5(subject_id, f"{event_type}:{version}")


def key_of(business_id: UUID, subject_id: UUID) -> bytes:
    """Make the key of a Kafka record: `business/subject`."""
    return f"{business_id}/{subject_id}".encode()


def split_key(key: bytes) -> tuple[UUID, UUID]:
    """Read a record's key back. Raises ValueError if it is not `uuid/uuid`."""
    business_id, slash, subject_id = key.decode().partition("/")
    if not slash:
        raise ValueError(f"key {key!r} is not business/subject")
    return UUID(business_id), UUID(subject_id)


def partition_of(key: bytes, partitions: int) -> int:
    """CRC-32 of the key modulo the number of partitions; other clients must do the same."""
    return zlib.crc32(key) % partitions


def ulid_of(identity: UUID) -> str:
    """Write a UUID's 128 bits as a ULID: 26 characters of Crockford's base 32."""
    number = identity.int
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def uuid_of(ulid: str) -> UUID:
    """Read a ULID back. Raises ValueError."""
    number = 0
    for letter in ulid.upper():
        number = number << 5 | _CROCKFORD.index(letter)
    if len(ulid) != 26 or number >> 128:
        raise ValueError(f"{ulid!r} is not a ULID")
    return UUID(int=number)


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with `Z`, microseconds only where there are any."""
    return instant.isoformat().replace("+00:00", "Z")
