"""What a fault gets to act on, and the few things that several of them do."""

import asyncio
import itertools
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from tests.faults.evidence import Mark
from tests.faults.installation import Installation, Process
from tests.faults.load import Tenant
from tests.support.system import eventually

Produced = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""
REACHED_S = 8.0
STOP_S = 25.0


@dataclass
class Rig:
    """An installation under load."""

    installation: Installation
    tenants: Sequence[Tenant]
    chance: random.Random
    mark: Mark
    long: bool = False
    patience_s: float = 120.0
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def any_process(self) -> Process:
        """Draw a process."""
        return self.chance.choice(list(self.installation.processes.values()))

    async def kill(self, process: Process) -> None:
        """End a process as a crash would, and start it again."""
        await process.kill()
        self.installation.counts["kills"] += 1
        await process.start()

    async def crash(self, package: str, armed: str) -> None:
        """Start a service with a failpoint, wait until it has killed the process, start it plainly again."""
        process = self.installation.process_of(package)
        await process.kill()
        await process.start(armed)
        try:
            await eventually(lambda: _ended(process), REACHED_S, "the failpoint is reached")
        except AssertionError:
            await process.kill()
        self.installation.counts["kills"] += 2
        await process.start()

    async def freeze(self, process: Process, seconds: float) -> None:
        """Stop a process's clock for a while."""
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.signal(signal.SIGCONT)

    async def probe(self, tenant: Tenant) -> str:
        """Report something of which every service hears; return its activity."""
        ref = f"q{next(self.numbers)}x{self.chance.randrange(1 << 30)}"
        report = {
            "source": "phone", "source_ref": f"{ref}-log", "activity_ref": ref, "action": "log", "type": "call",
            "summary": f"{tenant.canary} {ref}", "occurred_at": "2026-06-01T10:00:00Z",
            "links": [{"object": "contact", "external_ref": "c-0"}],
        }  # fmt: skip
        for _ in range(100):
            answer = await tenant.send(report)
            if answer.outcome == "ok":
                return str(orjson.loads(answer.body)["activity_id"])
        raise AssertionError(f"the probe is not accepted: {answer}")

    async def produce(self, records: Sequence[Produced]) -> None:
        """Put records on topics past the outbox."""
        servers = self.installation.kafka.bootstrap_servers
        producer = AIOKafkaProducer(bootstrap_servers=servers, max_request_size=2_000_000)
        await producer.start()
        try:
            for topic, key, value, headers in records:
                await producer.send_and_wait(topic, value, key, headers=headers)
        finally:
            await producer.stop()


async def _ended(process: Process) -> bool:
    return not process.running()
