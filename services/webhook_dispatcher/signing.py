"""Signatures of webhooks (Standard Webhooks): one for each live key, so that keys can be rotated.

`v1`: HMAC-SHA256 under a secret that the receiver has too. `v1a`: ed25519, of which the receiver has the public key.
"""

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Mapping, Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
SECRET_BYTES = 32
"""Of a secret, and of the seed of an ed25519 key."""

Scheme = Literal["v1", "v1a"]
Key = bytes | Ed25519PrivateKey
"""What is signed with: the bytes of a secret, or a private key."""


def generate_key() -> bytes:
    """Make the random bytes of a secret or a private key."""
    return randomness.token_bytes(SECRET_BYTES)


def generate_secret() -> str:
    """Make a secret: `whsec_` and 32 random bytes in base64."""
    return secret_of(generate_key())


def secret_of(key: bytes) -> str:
    """Write a secret as its owner gets it."""
    return PREFIX + base64.b64encode(key).decode()


def key_of(secret: str) -> bytes:
    """Read the bytes of a secret. Raises ValueError."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a secret is whsec_ and base64") from error


def private_key_of(seed: bytes) -> Ed25519PrivateKey:
    """Make the private key of a seed of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_bytes_of(seed: bytes) -> bytes:
    """Return the 32 bytes of the public key of a seed."""
    return private_key_of(seed).public_key().public_bytes_raw()


def public_key_of(public_bytes: bytes) -> str:
    """Write a public key as receivers get it: `whpk_` and base64."""
    return PUBLIC_PREFIX + base64.b64encode(public_bytes).decode()


def sign(message_id: str, timestamp: int, body: bytes, keys: Sequence[Key]) -> str:
    """Sign `id.timestamp.body` with each key: `v1,<base64> v1a,<base64>`."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join([_signature(key, signed) for key in keys])


def _signature(key: Key, signed: bytes) -> str:
    if isinstance(key, bytes):
        return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
    return f"v1a,{base64.b64encode(key.sign(signed)).decode()}"


def verifies(headers: Mapping[str, str], body: bytes, key: Key) -> bool:
    """Tell whether one of the signatures is that of this key, as a receiver checks it."""
    signed = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    given = headers["webhook-signature"].split(" ")
    if isinstance(key, bytes):
        wanted = _signature(key, signed)
        return any(hmac.compare_digest(wanted, one) for one in given)
    return any(_verifies(key, one.removeprefix("v1a,"), signed) for one in given if one.startswith("v1a,"))


def _verifies(key: Ed25519PrivateKey, signature: str, signed: bytes) -> bool:
    try:
        key.public_key().verify(base64.b64decode(signature), signed)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def headers_of(message_id: str, timestamp: int, body: bytes, keys: Sequence[Key]) -> dict[str, str]:
    """Make the three headers of a signed webhook."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(message_id, timestamp, body, keys),
    }
