"""Secrets at rest: AES-256-GCM under a key derived from a master key, bound to business and endpoint.

Of several master keys the first seals and all open, so that they can be rotated: put the new one first, have every
process know it, seal again what the old one sealed (`python -m services reseal`), take the old one away.
"""

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
    """Seals and opens the secrets of endpoints. `master_keys`: one, or several with commas between."""

    def __init__(self, master_keys: str) -> None:
        self._ciphers = [_cipher_of(master_key.strip()) for master_key in master_keys.split(",")]

    def seal(self, key: bytes, business_id: UUID, endpoint_id: UUID) -> bytes:
        """Seal a secret's bytes: format, nonce, ciphertext with tag."""
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._ciphers[0].encrypt(nonce, key, business_id.bytes + endpoint_id.bytes)

    def open(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> bytes:
        """Open a sealed secret. Raises Unsealable."""
        if sealed[:1] != FORMAT:
            raise Unsealable(f"format {sealed[:1]!r} is not known")
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, business_id.bytes + endpoint_id.bytes)
            except InvalidTag:
                continue
        raise Unsealable("the master key or the endpoint is another one")

    def reseal(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> bytes | None:
        """Seal a secret again under the first master key; None where no master key opens it."""
        try:
            return self.seal(self.open(sealed, business_id, endpoint_id), business_id, endpoint_id)
        except Unsealable:
            return None


def _cipher_of(master_key: str) -> AESGCM:
    if len(master_key) < MASTER_LENGTH_MIN:
        raise ValueError(f"WEBHOOK_MASTER_KEY must have at least {MASTER_LENGTH_MIN} characters, has {len(master_key)}")
    derived = HKDF(SHA256(), 32, salt=None, info=b"activities webhook secret 1").derive(master_key.encode())
    return AESGCM(derived)
