"""How to reach Kafka, and what both directions have in common."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from zlib import crc32

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """A record as aiokafka hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


Batch = tuple[Record, ...]

VALUE_MAX_BYTES = 1_048_576
"""The longest value that may be put into the outbox."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where Kafka is and how it is used. `instance` names this process among those of its service, if it has a name.

    With an instance a restarted process takes its partitions back at once, instead of after `session_timeout_ms`; two
    processes of one service must not have the same. `member` numbers the members that a process has in one group.
    """

    bootstrap_servers: str
    partitions: int = 4
    replication_factor: int = 1
    message_max_bytes: int = VALUE_MAX_BYTES + 65_536  # of a whole record: value, key, headers
    compression: Literal["lz4", "gzip", "zstd"] | None = "lz4"
    instance: str | None = None
    member: int = 1
    session_timeout_ms: int = 10_000
    records_max: int = 1_000  # in one batch of a consumer
    fetch_max_bytes: int = 4 * 1024 * 1024
    partition_fetch_max_bytes: int = 512 * 1024
    publish_timeout_s: float = 10.0
    stuck_s: float = 30.0  # a batch or a look into the outbox that takes longer is somebody's business
    outbox_backlog_max_bytes: int = 1024 * 1024 * 1024
    outbox_poll_max_s: float = 1.0  # how late what another process of the service has committed leaves, at most

    def instance_of(self, group: str, topics: Iterable[str]) -> str | None:
        """Name a member of a group for good, if this process has a name.

        With other topics it is another member: one that comes back under its old name keeps its old partitions, and
        would hear nothing of a topic that its release has added.
        """
        if self.instance is None:
            return None
        heard = crc32(" ".join(sorted(topics)).encode())
        return f"{group}-{self.instance}" + (f".{self.member}" if self.member > 1 else "") + f"-{heard:08x}"


class Raw:
    """Codec of the broker: hands records over as they came, so that nothing is decoded twice."""

    async def decode(self, message: Any) -> Any:
        """Hand over the body."""
        return message.body

    async def encode(self, message: Any, serializer: object = None) -> tuple[bytes, str | None]:
        """Take bytes as they are."""
        return message, None

    async def decode_batch(self, message: Any) -> Any:
        """Hand over the records."""
        return message.raw_message

    async def encode_batch(self, messages: Sequence[Any], serializer: object = None) -> list[tuple[bytes, str | None]]:
        """Take bytes as they are."""
        return [(message, None) for message in messages]


def _send_or_say_so(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection is closed: {error}") from error


_send = AIOKafkaConnection.send
AIOKafkaConnection.send = _send_or_say_so
"""aiokafka expects OSError of a transport that was closed under it; uvloop's raises RuntimeError, which ends the
client's fetching and coordinating for good (seen: a consumer silent for 240 s after resets)."""


class Sparing(logging.Filter):
    """Lets one line per place in the code through each `every_s`: with Kafka away aiokafka writes hundreds a second."""

    def __init__(self, every_s: float = 10.0) -> None:
        super().__init__()
        self._every_s = every_s
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line may pass."""
        place = record.pathname, record.lineno
        now = time.monotonic()
        if now - self._last.get(place, -self._every_s) < self._every_s:
            return False
        self._last[place] = now
        return True


_sparing = Sparing()


def spare_logs() -> None:
    """Rate-limit what aiokafka's loggers say; calling it again changes nothing."""
    for name in ["aiokafka", *logging.root.manager.loggerDict]:
        if name.startswith("aiokafka"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.WARNING)
            logger.addFilter(_sparing)
