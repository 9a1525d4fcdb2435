"""A round: businesses, their load, faults one after the other, then heal, drain and check. A seed draws everything."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from libs.errors import ActivitiesError
from tests.faults import history
from tests.faults.checker import judge
from tests.faults.evidence import collect, make_mark
from tests.faults.history import History
from tests.faults.installation import Installation
from tests.faults.load import Tenant
from tests.faults.named import FAULTS, Fault, NotRun
from tests.faults.rig import Rig

INTAKE_MAX_S = 30.0
WHOLE_MAX_S = 120.0
SETTLE_S = 1.0


@dataclass(frozen=True)
class Manner:
    """How a round is run: businesses, their reports a second each, activities to reach, how long to stay at least.

    `patience_s`: how long everything may take to be well again; less where a bug keeps it from ever being so.
    """

    tenants: int = 2
    rate: float = 30.0
    bulk_share: float = 0.5
    activities_min: int = 0
    seconds_min: float = 4.0
    long: bool = False
    patience_s: float = WHOLE_MAX_S


@dataclass
class Round:
    """What a round came to. `broken`: invariant to sentences; `recoveries`: fault, seconds to intake, to everything."""

    seed: int
    faults: list[str]
    acknowledged: int = 0
    operations: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    recoveries: list[tuple[str, float, float]] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    webhooks: int = 0
    seconds: float = 0.0
    history: Path | None = None

    def breaks(self, invariant: str, *texts: str) -> None:
        """Note what broke an invariant."""
        self.broken.setdefault(invariant, []).extend(texts)


async def run_round(installation: Installation, faults: Sequence[str], seed: int, manner: Manner) -> Round:
    """Run a round and judge it; what goes wrong on the way is a finding as well."""
    began = time.monotonic()
    done = Round(seed, list(faults), history=installation.directory / f"history-{seed}.jsonl")
    before = dict(installation.counts)
    assert done.history is not None
    mark = await make_mark(installation)
    log = History(done.history)
    installation.sink.forget()
    tenants = [Tenant(installation, each, log, seed) for each in await installation.make_businesses(manner.tenants)]
    await _introduce(installation, tenants, manner)
    rig = Rig(installation, tenants, random.Random(seed), mark, long=manner.long, patience_s=manner.patience_s)
    try:
        await _under_load(rig, [FAULTS[name] for name in faults], done, manner)
        await installation.heal()
        for tenant in tenants:
            await tenant.finish()
        await installation.until_healthy(manner.patience_s)
    except (AssertionError, ActivitiesError, TimeoutError, OSError) as error:
        done.breaks("I11", f"{type(error).__name__}: {error}")
        await installation.heal()
    log.close()
    await _check(rig, done)
    done.acknowledged = sum(len(tenant.acknowledged) for tenant in tenants)
    done.operations = log.counts
    done.counts = {name: installation.counts[name] - before[name] for name in before}
    done.webhooks = len(installation.sink.deliveries)
    done.seconds = time.monotonic() - began
    return done


async def _introduce(installation: Installation, tenants: Sequence[Tenant], manner: Manner) -> None:
    for tenant in tenants:
        tenant.others = [other.canary for other in tenants if other is not tenant]
        tenant.rate, tenant.bulk_share = manner.rate, manner.bulk_share
        await tenant.settle()
        tenant.strangers = next((other.shown for other in tenants if other is not tenant), [])
    installation.sink.know_canaries({tenant.business.id: tenant.canary for tenant in tenants})


async def _under_load(rig: Rig, faults: Sequence[Fault], done: Round, manner: Manner) -> None:
    began = time.monotonic()
    short_lived = await rig.tenants[0].make_endpoint("gone", ["activity.logged"])
    async with asyncio.TaskGroup() as group:
        for tenant in rig.tenants:
            group.create_task(tenant.run())
        try:
            await asyncio.sleep(SETTLE_S)
            await rig.tenants[0].delete_endpoint(short_lived, "gone")
            for fault in faults:
                await _suffer(rig, fault, done)
            while time.monotonic() - began < manner.seconds_min or _acknowledged(rig) < manner.activities_min:
                await asyncio.sleep(0.1)
        finally:
            for tenant in rig.tenants:
                tenant.stop()


async def _suffer(rig: Rig, fault: Fault, done: Round) -> None:
    """Let one fault happen, and measure how long recovery takes."""
    rig.installation.doing = fault.name
    try:
        await fault.happen(rig)
    except NotRun as reason:
        done.not_run[fault.name] = str(reason)
        return
    except AssertionError as error:
        done.breaks("I11", f"{fault.name}: {error}")
    await rig.installation.heal()
    healed = time.monotonic()
    try:
        intake_s = await _until_taken(rig, healed)
        whole_s = await _until_whole(rig, healed)
    except AssertionError as error:
        done.breaks("I11", f"after {fault.name}: {error}")
        return
    done.recoveries.append((fault.name, round(intake_s, 2), round(whole_s, 2)))
    if intake_s > INTAKE_MAX_S or whole_s > WHOLE_MAX_S:
        done.breaks(
            "I11", f"after {fault.name}: intake worked after {intake_s:.0f} s, everything after {whole_s:.0f} s"
        )


async def _until_taken(rig: Rig, since: float) -> float:
    """Wait until every business has had a report accepted since; return how long it took."""
    while not all(tenant.accepted_at > since for tenant in rig.tenants):
        assert time.monotonic() - since < INTAKE_MAX_S * 2, "no report is accepted"
        await asyncio.sleep(0.02)
    return min(tenant.accepted_at for tenant in rig.tenants) - since if rig.tenants else 0.0


async def _until_whole(rig: Rig, since: float) -> float:
    """Send a probe and wait until it is applied, shown, counted and told, and every service says that all is well."""
    tenant = rig.tenants[0]
    activity_id = await rig.probe(tenant)
    wanted = f"min_version={activity_id}:1"
    for path in (
        f"/api/timeline/contact/{tenant.record_id(0)}?limit=1&{wanted}",
        f"/api/reports/rows?from=2026-01-01&to=2026-01-02&{wanted}",
    ):
        while (await tenant.call("GET", path, prefer="wait=1")).status != 200:
            assert time.monotonic() - since < rig.patience_s, f"{path} does not show the probe"
            await asyncio.sleep(0.1)
    while not any(each.activity_id == activity_id for each in rig.installation.sink.deliveries.values()):
        assert time.monotonic() - since < rig.patience_s, "the webhook of the probe has not come"
        await asyncio.sleep(0.05)
    while problems := await rig.installation.problems():
        assert time.monotonic() - since < rig.patience_s, f"not healthy: {problems}"
        await asyncio.sleep(0.1)
    return time.monotonic() - since


async def _check(rig: Rig, done: Round) -> None:
    assert done.history is not None
    told = await asyncio.to_thread(lambda path: history.gather(history.read(path)), done.history)
    try:
        cases = await collect(rig.installation, rig.tenants, told, rig.mark, rig.patience_s)
    except (ActivitiesError, OSError, TimeoutError) as error:
        done.breaks("I8", f"not drained: {error}")
        return
    for case in cases:
        for name, texts in (await judge(case)).items():
            done.breaks(name, *(f"business {case.business}: {text}" for text in texts))


def _acknowledged(rig: Rig) -> int:
    return sum(len(tenant.acknowledged) for tenant in rig.tenants)


def draw(names: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw faults: every one once before any comes again."""
    chance = random.Random(seed)
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += chance.sample(list(names), k=min(len(names), count - len(drawn)))
    return drawn


def write_failure(done: Round, directory: Path) -> Path:
    """Keep what a failed round found beside its history."""
    path = directory / f"broken-{done.seed}.json"
    path.write_bytes(orjson.dumps(done.__dict__, option=orjson.OPT_INDENT_2, default=str))
    return path
