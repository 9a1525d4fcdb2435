"""Processes that die, freeze or are told to stop."""

import asyncio
import signal

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from cli.check import groups, surroundings
from tests.faults.named import fault
from tests.faults.rig import STOP_S, Rig

PLACES = [
    *(
        f"{package}.{step}"
        for package in ("ingest", "lifecycle", "timeline_projector", "reporting", "webhook_dispatcher")
        for step in ("commit", "acknowledge")
    ),
    *(f"{package}.publish" for package in ("ingest", "lifecycle")),
    "webhook_dispatcher.send",
]
FROZEN_S = 12.0
"""Longer than a consumer's session (10 s) and than a webhook's lease (5 s)."""


@fault("kill-anywhere", "a service is killed at any failpoint, and one did it but reported failure besides")
async def kill_anywhere(rig: Rig) -> None:
    place = rig.chance.choice(PLACES)
    when = rig.chance.choice(("before", "after", "reported"))
    other = rig.chance.choice(PLACES)
    armed = f"{place}.{when}=kill@{rig.chance.randrange(1, 12)},{other}.reported=error@{rig.chance.randrange(1, 6)}"
    await rig.crash(place.partition(".")[0], armed)


@fault("kill-everywhere", "at each of the 39 failpoints in turn the process is killed; takes minutes", "long")
async def kill_everywhere(rig: Rig) -> None:
    for place in PLACES:
        for when in ("before", "after", "reported"):
            await rig.crash(place.partition(".")[0], f"{place}.{when}=kill@{rig.chance.randrange(1, 6)}")


@fault("not-done", "commits, publishes, acknowledgements and sends fail before they are done")
async def not_done(rig: Rig) -> None:
    armed = ",".join(f"{place}.before=error@{rig.chance.randrange(1, 8)}" for place in PLACES)
    for process in rig.installation.processes.values():
        await process.kill()
        rig.installation.counts["kills"] += 1
        await process.start(armed)
    await asyncio.sleep(4)


@fault("kill-before-offset", "a consumer is killed between its commit and Kafka's offset")
async def kill_before_offset(rig: Rig) -> None:
    package = rig.chance.choice(("lifecycle", "timeline_projector", "reporting", "webhook_dispatcher"))
    await rig.crash(package, f"{package}.acknowledge.before=kill@{rig.chance.randrange(1, 6)}")


@fault("kill-after-2xx", "the dispatcher is killed between a receiver's 2xx and noting it")
async def kill_after_2xx(rig: Rig) -> None:
    await rig.crash("webhook_dispatcher", f"webhook_dispatcher.send.after=kill@{rig.chance.randrange(1, 10)}")


@fault("reported-failed", "commits, publishes, acknowledgements and sends are done and then report failure")
async def reported_failed(rig: Rig) -> None:
    armed = ",".join(f"{place}.reported=error@{rig.chance.randrange(1, 8)}" for place in PLACES)
    for process in rig.installation.processes.values():
        await process.kill()
        rig.installation.counts["kills"] += 1
        await process.start(armed)
    await asyncio.sleep(4)


@fault("killed", "a process is killed wherever it is")
async def killed(rig: Rig) -> None:
    await rig.kill(rig.any_process())


@fault("killed-twice", "a process is killed again while it starts")
async def killed_twice(rig: Rig) -> None:
    process = rig.any_process()
    await process.kill()
    starting = asyncio.create_task(process.start())
    await asyncio.sleep(rig.chance.uniform(0.2, 2.0))
    await process.kill()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    rig.installation.counts["kills"] += 2
    await process.start()


@fault("sigterm", "SIGTERM under load: it stops in order within its time, and goes on when it is started")
async def sigterm(rig: Rig) -> None:
    process = rig.any_process()
    assert process.process is not None
    process.signal(signal.SIGTERM)
    code = await asyncio.to_thread(process.process.wait, STOP_S)
    assert code == 0, f"{process.name} ended with {code}:\n{process.tail()}"
    await process.start()


@fault("frozen", "a process's event loop stands still for longer than its leases and its session")
async def frozen(rig: Rig) -> None:
    await rig.freeze(rig.any_process(), FROZEN_S)


@fault("rebalance-storm", "another member joins and leaves the group every second")
async def rebalance_storm(rig: Rig) -> None:

    package = rig.chance.choice(("lifecycle", "timeline_projector", "reporting"))
    with surroundings(rig.installation.direct):
        topics = groups()[package]
    for _ in range(5):
        member = AIOKafkaConsumer(
            *topics, bootstrap_servers=rig.installation.kafka.bootstrap_servers, group_id=package,
            enable_auto_commit=False,
        )  # fmt: skip
        try:
            await member.start()
            await member.getmany(timeout_ms=1_000)
        except KafkaError:
            pass
        finally:
            await member.stop()
