"""One signed sample to an endpoint, now: the same signing, address guard and sender as every delivery."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.contracts.ids import uuid7
from libs.errors import TooMany
from services.webhook_dispatcher import signing
from services.webhook_dispatcher.domain.samples import sample_body
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.sender import Result, Sender
from services.webhook_dispatcher.signing import Key

AT_ONCE_MAX = 4
MakeSender = Callable[[float, float], Sender]
"""Of the seconds for an exchange, and those for its connection."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a sample goes, and how."""

    business_id: UUID
    url: str
    keys: Sequence[Key]
    headers: dict[str, str]
    timeout_s: float
    thin: bool


class Trials:
    """Sends samples, a few at once in this process."""

    def __init__(self, sealer: Sealer, make_sender: MakeSender, timeouts_s: tuple[float, float]) -> None:
        self._sealer, self._make_sender = sealer, make_sender
        self._timeout_s, self._connect_timeout_s = timeouts_s
        self._running = 0

    def target_of(self, business_id: UUID, endpoint: Mapping[str, Any], secrets: Sequence[bytes]) -> Target:
        """Make the target that an endpoint and its sealed secrets say."""
        keys = [self._sealer.key(sealed, business_id, endpoint["id"]) for sealed in secrets]
        timeout_s = endpoint["timeout_s"] or self._timeout_s
        headers = orjson.loads(endpoint["headers"])
        return Target(business_id, endpoint["url"], keys, headers, timeout_s, endpoint["body_form"] == "thin")

    async def send(self, target: Target, event_type: str, now: datetime) -> dict[str, Any]:
        """Send a sample and say what was sent, what came back, and whether the signature checks. Raises TooMany."""
        if self._running >= AT_ONCE_MAX:
            raise TooMany(f"{AT_ONCE_MAX} tests are running already; try again in a moment", 2)
        body = sample_body(event_type, target.business_id, now, thin=target.thin)
        signed = signing.headers_of(str(uuid7()), int(now.timestamp()), body, target.keys)
        sender = self._make_sender(target.timeout_s, min(self._connect_timeout_s, target.timeout_s))
        self._running += 1
        try:
            result = await sender.send(target.url, target.headers | signed, body)
        finally:
            self._running -= 1
            await asyncio.shield(sender.close())
        return _show(target, signed, body, result)


def _show(target: Target, signed: dict[str, str], body: bytes, result: Result) -> dict[str, Any]:
    return {
        "delivered": result.error is None,
        "error": result.error,
        "request": {"method": "POST", "url": target.url, "headers": target.headers | signed, "body": body.decode()},
        "response": None
        if result.http_status is None
        else {
            "status": result.http_status,
            "headers": dict(result.headers),
            "body": result.answer.decode("utf-8", "replace"),
        },
        "address": result.address,
        "duration_ms": result.duration_ms,
        "phases": dict(result.phases),
        "signature": {
            "secrets": len(target.keys),
            "valid": bool(target.keys) and all(signing.verifies(signed, body, key) for key in target.keys),
        },
    }
