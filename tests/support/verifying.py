"""Verifiers of signatures that are not ours: the reference libraries of Standard Webhooks in Python and in JavaScript.

Both check secrets (`v1`). Public keys (`v1a`) are checked by the specification, with `cryptography` and node's crypto.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import which
from time import time

import standardwebhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from libs.embedded import processes
from libs.embedded.packages import cache_directory

DIRECTORY = Path(__file__).parents[1] / "javascript"
NODE, NPM = which("node"), which("npm")
INSTALL_S, VERIFY_S, TOLERANCE_S = 120.0, 120.0, 300


@dataclass(frozen=True)
class Received:
    """A webhook as it came, and what its receiver checks it by: `whsec_…` or `whpk_…`. Header names in lower case."""

    key: str
    headers: Mapping[str, str]
    body: bytes


def verify_in_python(received: Sequence[Received]) -> list[bool]:
    """Say for each whether a receiver in Python takes it."""
    return [(_by_secret if one.key.startswith("whsec_") else _by_public_key)(one) for one in received]


def _by_secret(one: Received) -> bool:
    try:
        standardwebhooks.Webhook(one.key).verify(one.body, dict(one.headers))
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def _by_public_key(one: Received) -> bool:
    if abs(time() - int(one.headers["webhook-timestamp"])) > TOLERANCE_S:
        return False
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(one.key.removeprefix("whpk_")))
    signed = f"{one.headers['webhook-id']}.{one.headers['webhook-timestamp']}.".encode() + one.body
    for signature in one.headers["webhook-signature"].split(" "):
        version, _, text = signature.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(text), signed)
            except InvalidSignature:
                continue
            return True
    return False


def verify_in_javascript(received: Sequence[Received]) -> list[bool]:
    """Say for each whether a receiver in JavaScript takes it. Needs node and npm."""
    assert NODE is not None
    given = [
        {
            "secret" if one.key.startswith("whsec_") else "public_key": one.key,
            "headers": dict(one.headers),
            "body": base64.b64encode(one.body).decode(),
        }
        for one in received
    ]
    done = subprocess.run(
        [NODE, str(_installed() / "verify.js")], input=json.dumps(given), capture_output=True, text=True, check=True,
        timeout=VERIFY_S,
    )  # fmt: skip
    answers: list[bool] = json.loads(done.stdout)
    return answers


def _installed() -> Path:
    """Install what `package-lock.json` names, each file by its hash; once for each lock."""
    assert NPM is not None
    files = sorted(DIRECTORY.glob("*.js*"))
    name = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"javascript-{name}"
    with processes.locked(cache / "javascript.lock", INSTALL_S):
        if not place.exists():
            fresh = place.with_name(place.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            for file in files:
                shutil.copy(file, fresh)
            command = [NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
            subprocess.run(command, cwd=fresh, env=dict(os.environ), check=True, timeout=INSTALL_S)
            fresh.rename(place)
    return place
