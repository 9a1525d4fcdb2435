"""One signed POST to a receiver: to the checked address, within one deadline, without following it anywhere.

What a sender is, and what comes of an attempt; there are two, `LeanSender` (lean.py) and `AiohttpSender`
(aiohttp_sender.py), and one conformance suite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

WITHDRAWN = "withdrawn"
ANSWER_MAX_BYTES = 16 << 10
HEADERS_MAX, HEADER_LENGTH_MAX = 50, 500
KEEP_ALIVE_S = 55.0
FIXED_HEADERS = {
    "content-type": "application/json",
    "user-agent": "Activities-Webhooks/1.0",
    "accept": "*/*",
    "accept-encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt. `error` is None for 2xx, else the failure's class:

    dns, blocked_address, refused, unreachable, reset, timeout:<phase>, tls, redirect, protocol, http_4xx, http_5xx;
    withdrawn: nobody wanted it any more when it was connected, nothing was sent.
    `phases` are milliseconds since the beginning.
    """

    error: str | None
    http_status: int | None = None
    address: str | None = None
    duration_ms: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b""


def always() -> bool:
    """Tell that a webhook is wanted."""
    return True


class Sender(Protocol):
    """Sends one webhook and says what came of it; raises nothing."""

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float | None = None,
        wanted: Callable[[], bool] = always,
    ) -> Result:
        """Send; `timeout_s` is for the whole exchange, None: the sender's own.

        Making a connection takes its time: `wanted` is asked again before the request goes out on a new one.
        """

    async def close(self) -> None:
        """Close all connections."""


def class_of_status(status: int) -> str | None:
    """Name the class of an answer's failure; None: it is a success."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "redirect"
    return f"http_{status // 100}xx" if 400 <= status < 600 else "protocol"
