"""The receivers of the webhooks of all businesses, and a ledger of what reached them and how it was answered."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support import sink
from tests.support.sink import Answer, Sink

OK = Answer()


@dataclass
class Delivery:
    """A webhook as an endpoint saw it, however often it came. `digests`: of its bodies; more than one is wrong."""

    business: str
    endpoint: str
    event_type: str
    activity_id: str
    version: int
    logged: bool
    source: str
    first_at: float
    last_at: float
    times: int = 0
    answered: int = 0
    digests: set[bytes] = field(default_factory=set)


class Receivers(Sink):
    """Answers as `manner` says (a slow, hanging, garbling receiver), and keeps the ledger.

    An endpoint's path is `/<business>/<name>`. What cannot be verified or belongs to another business goes to `wrong`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.manner = OK
        self.deliveries: dict[str, Delivery] = {}
        self.wrong: list[tuple[str, str, str]] = []
        """(invariant, business, what was wrong)"""
        self.arrived = 0
        self._secrets: dict[str, Webhook] = {}
        self._canaries: dict[str, bytes] = {}

    def expect(self, business: str, name: str, secret: str) -> None:
        """Know an endpoint's secret."""
        self._secrets[f"/{business}/{name}"] = Webhook(secret)

    def know_canaries(self, canaries: Mapping[str, str]) -> None:
        """Know by which text each business's data can be told."""
        self._canaries = {business: text.encode() for business, text in canaries.items()}

    def forget(self) -> None:
        """Begin a new ledger."""
        self.deliveries.clear()
        self.wrong.clear()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await sink._read(reader)
        self.arrived += 1
        delivery = self._take(request)
        answer = self.manner
        if answer.hang:
            await asyncio.Event().wait()
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.close:
            return False
        if delivery is not None and 200 <= answer.status < 300:
            delivery.answered += 1
        await sink._write(writer, answer)
        return True

    def _take(self, request: sink.Request) -> Delivery | None:
        business, _, name = request.path.lstrip("/").partition("/")
        known = self._secrets.get(request.path)
        if known is None:
            self.wrong.append(("I7", business, f"a webhook came to {request.path}, which no endpoint has"))
            return None
        try:
            verify(known, request)
        except WebhookVerificationError as error:
            self.wrong.append(("I6", business, f"{request.path}: the signature is wrong: {error}"))
        for other, canary in self._canaries.items():
            if other != business and canary in request.body:
                self.wrong.append(("I9", business, f"{request.path}: the body holds the canary of business {other}"))
        return self._note(business, name, request)

    def _note(self, business: str, name: str, request: sink.Request) -> Delivery | None:
        body = orjson.loads(request.body)
        data, now = body["data"], time.time()
        if data["business_id"] != business:
            self.wrong.append(("I9", business, f"{request.path}: is told of business {data['business_id']}"))
        key = request.headers["webhook-id"]
        delivery = self.deliveries.get(key)
        if delivery is None:
            logged = data["logged_at"] is not None
            delivery = self.deliveries[key] = Delivery(
                business, name, body["type"], data["activity_id"], data["version"], logged, data["source"], now, now
            )
        elif (delivery.endpoint, delivery.activity_id) != (name, data["activity_id"]):
            self.wrong.append(("I6", business, f"webhook {key} came with two contents"))
        delivery.times += 1
        delivery.last_at = now
        delivery.digests.add(hashlib.sha256(request.body).digest())
        return delivery


def verify(known: Webhook, request: sink.Request) -> None:
    """Verify a signature, whatever clock it was made by: some faults move it. Raises WebhookVerificationError."""
    headers = request.headers
    made = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    if known.sign(headers["webhook-id"], made, request.body.decode()) not in headers["webhook-signature"].split(" "):
        raise WebhookVerificationError("no signature is that of the body")
