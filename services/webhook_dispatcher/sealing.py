"""Secrets and private keys at rest: AES-256-GCM under a key derived from a master key, bound to business and endpoint,
and to what they sign (`v1`: the bytes of a secret, `v1a`: the seed of a private key).

Of several master keys the first seals and all open, so that they can be rotated: put the new one first, have every
process know it, seal again what the old one sealed (`python -m services reseal`), take the old one away.
"""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.webhook_dispatcher import signing
from services.webhook_dispatcher.signing import Key, Scheme

FORMATS: dict[Scheme, bytes] = {"v1": b"\x01", "v1a": b"\x02"}
NONCE_BYTES = 12
MASTER_LENGTH_MIN = 16


class Unsealable(Exception):
    """The secret was sealed under another master key, or for another endpoint."""


class Sealer:
    """Seals and opens the secrets of endpoints. `master_keys`: one, or several with commas between."""

    def __init__(self, master_keys: str) -> None:
        self._ciphers = [_cipher_of(master_key.strip()) for master_key in master_keys.split(",")]

    def seal(self, key: bytes, business_id: UUID, endpoint_id: UUID, scheme: Scheme = "v1") -> bytes:
        """Seal the bytes of a secret or a seed: format, nonce, ciphertext with tag."""
        nonce = os.urandom(NONCE_BYTES)
        bound = _bound(scheme, business_id, endpoint_id)
        return FORMATS[scheme] + nonce + self._ciphers[0].encrypt(nonce, key, bound)

    def open(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> bytes:
        """Open what was sealed. Raises Unsealable."""
        bound = _bound(scheme_of(sealed), business_id, endpoint_id)
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, bound)
            except InvalidTag:
                continue
        raise Unsealable("the master key or the endpoint is another one")

    def key(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> Key:
        """Open what was sealed, to sign with it. Raises Unsealable."""
        opened = self.open(sealed, business_id, endpoint_id)
        return opened if scheme_of(sealed) == "v1" else signing.private_key_of(opened)

    def reseal(self, sealed: bytes, business_id: UUID, endpoint_id: UUID) -> bytes | None:
        """Seal a secret again under the first master key; None where no master key opens it."""
        try:
            return self.seal(self.open(sealed, business_id, endpoint_id), business_id, endpoint_id, scheme_of(sealed))
        except Unsealable:
            return None


def scheme_of(sealed: bytes) -> Scheme:
    """Tell what is signed with that. Raises Unsealable."""
    for scheme, mark in FORMATS.items():
        if sealed[:1] == mark:
            return scheme
    raise Unsealable(f"format {sealed[:1]!r} is not known")


def _bound(scheme: Scheme, business_id: UUID, endpoint_id: UUID) -> bytes:
    return business_id.bytes + endpoint_id.bytes + (b"" if scheme == "v1" else scheme.encode())


def _cipher_of(master_key: str) -> AESGCM:
    if len(master_key) < MASTER_LENGTH_MIN:
        raise ValueError(f"WEBHOOK_MASTER_KEY must have at least {MASTER_LENGTH_MIN} characters, has {len(master_key)}")
    derived = HKDF(SHA256(), 32, salt=None, info=b"activities webhook secret 1").derive(master_key.encode())
    return AESGCM(derived)
