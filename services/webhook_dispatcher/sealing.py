"""Secrets at rest: AES-256-GCM under a key derived from the master key, bound to business and endpoint."""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FORMAT = b"\x01"
NONCE_BYTES = 12
MASTER_LENGTH_MIN = 16


class Unsealable(Exception):
    """The secret was sealed under another master key, or for another endpoint."""


class Sealer:
    """Seals and opens the secrets of endpoints."""

    def __init__(self, master_key: str) -> None:
        if len(master_key) < MASTER_LENGTH_MIN:
            raise ValueError(
                f"WEBHOOK_MASTER_KEY must have at least {MASTER_LENGTH_MIN} characters, has {len(master_key)}"
            )
        derived = HKDF(SHA256(), 32, salt=None, info=b"activities webhook secret 1").derive(master_key.encode())
        self._cipher = AESGCM(derived)

    def seal(self, key: bytes, business_id: UUID, endpoint_id: UUID) -> bytes:
        """Seal a secret's bytes: format, nonce, ciphertext with tag."""
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, key, business_id.bytes + endpoint_id.bytes)

    def open(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> bytes:
        """Open a sealed secret. Raises Unsealable."""
        if sealed[:1] != FORMAT:
            raise Unsealable(f"format {sealed[:1]!r} is not known")
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, business_id.bytes + endpoint_id.bytes)
        except InvalidTag as error:
            raise Unsealable("the master key or the endpoint is another one") from error
