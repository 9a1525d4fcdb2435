"""The long run: round after round of faults at a low rate, each round with businesses of its own, until time is up.

A round that finds something is kept (its history, what broke, the logs) and the run goes on. An installation that
grows too large, or does not come up again, is replaced; before that, everything it ever did is compared once more.
"""

import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from cli.check import open_stores, reconcile, surroundings
from cli.check.pages import list_businesses
from libs.service.settings import ServiceSettings
from tests.faults.installation import Installation, installed
from tests.faults.named import FAULTS
from tests.faults.plan import Manner, Round, run_round, write_failure
from tests.faults.results import Summary

PROGRESS_S = 30.0
SIZE_MAX_BYTES = 6 << 30
LONG_FROM_S = 3_000
"""A soak of this length has a round in which the broker is away for 10 minutes."""
KEPT_MAX = 20
"""Of so many rounds that found something histories and logs are kept."""
IN_A_ROUND = {"processes": 5, "databases": 3, "brokers": 1, "receivers": 1, "messages": 1, "recoveries": 1}


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    seconds: float
    seed: int
    rate: float
    directory: Path
    apart: bool = True


class Soak:
    """A long run under way."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.summary = Summary("soak, a process per service" if order.apart else "soak, one process", order.seed)
        self._began = time.monotonic()
        self._decks = {group: _deck(group, order.seed) for group in IN_A_ROUND}
        self._current = ""
        self._long_due = order.seconds >= LONG_FROM_S
        self._installation: Installation | None = None

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.order.seconds - (time.monotonic() - self._began)

    async def run(self) -> Summary:
        """Run until time is up."""
        telling = asyncio.create_task(self._tell())
        try:
            for seeds in itertools.count():
                if self.left_s <= 0:
                    break
                await self._use_one(seeds)
        finally:
            telling.cancel()
        self.summary.seconds = time.monotonic() - self._began
        return self.summary

    async def _use_one(self, number: int) -> None:
        place = self.order.directory / f"installation-{number}"
        try:
            async with installed(place, apart=self.order.apart) as installation:
                self._installation = installation
                await self._rounds(installation)
                await self._compare_all(installation)
        except Exception:  # noqa: BLE001 - a long run goes on whatever happens
            self.summary.broken.append((-1, "I11", f"the installation was given up: {traceback.format_exc()[-1500:]}"))
            _say(self.summary.broken[-1][2])
            self._keep_logs(place, f"given-up-{number}")
            await asyncio.sleep(5)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    async def _rounds(self, installation: Installation) -> None:
        while self.left_s > 0 and _size(installation.directory) < SIZE_MAX_BYTES:
            seed = self.order.seed * 10_000 + self.summary.rounds
            faults = self._draw(seed)
            manner = Manner(tenants=3, rate=self.order.rate / 3, bulk_share=0.4, seconds_min=20)
            if self._long_due and self.left_s < self.order.seconds * 0.6:
                self._long_due, faults = False, ["kafka-away"]
                manner = Manner(tenants=3, rate=self.order.rate / 3, bulk_share=0.4, long=True)
            self._current = f"round {self.summary.rounds} ({', '.join(faults)})"
            done = await run_round(installation, faults, seed, manner)
            self.summary.add(done)
            if done.broken:
                self._keep(installation, done)
            elif done.history is not None:
                done.history.unlink(missing_ok=True)

    def _draw(self, seed: int) -> list[str]:
        faults = [next(self._decks[group]) for group, count in IN_A_ROUND.items() for _ in range(count)]
        random.Random(seed).shuffle(faults)
        return faults

    async def _compare_all(self, installation: Installation) -> None:
        """Compare everything that the installation ever held: late damage to earlier rounds shows here."""
        self._current = "comparing everything once more"
        with surroundings(installation.direct):
            async with open_stores(ServiceSettings()) as stores:
                for business_id, _ in await list_businesses(stores["directory"]):
                    async for text in reconcile(stores, UUID(str(business_id)), full=True):
                        self.summary.broken.append((-2, "I4", f"at the end: business {business_id}: {text}"))

    def _keep(self, installation: Installation, done: Round) -> None:
        for name, texts in done.broken.items():
            for text in texts:
                _say(f"round {done.seed}: {name}: {text}")
        if len(list(self.order.directory.glob("broken-*.json"))) >= KEPT_MAX:
            return
        write_failure(done, self.order.directory)
        assert done.history is not None
        shutil.move(done.history, self.order.directory / done.history.name)
        self._keep_logs(installation.directory, str(done.seed))

    def _keep_logs(self, place: Path, name: str) -> None:
        for log in place.glob("*.log"):
            with contextlib.suppress(OSError):
                (self.order.directory / f"{name}-{log.name}").write_bytes(log.read_bytes()[-2_000_000:])

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            done, running = self.summary, self._installation
            now = running.counts if running is not None else {}
            _say(
                f"{self.order.seconds - self.left_s:6.0f} s: {done.rounds} rounds, {done.acknowledged} acknowledged, "
                f"{', '.join(f'{name} {count}' for name, count in now.items())}, broken {len(done.broken)}; "
                f"{running.doing if running is not None else 'starting'} in {self._current}"
            )


def _deck(group: str, seed: int) -> Iterator[str]:
    """Deal the faults of a group, all of them before any comes again."""
    module = f"tests.faults.named.{group}"
    names = [each.name for each in FAULTS.values() if each.happen.__module__ == module and not each.needs]
    chance = random.Random(f"{group}{seed}")
    while True:
        yield from chance.sample(names, k=len(names))


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
