"""The fault suite's part of every change: a seeded plan of faults under load, and a handful of planted bugs.

`./activities test --faults` kills at every failpoint besides; `./activities faults` does all the rest by name.
"""

from collections.abc import AsyncIterator

import pytest

from tests.faults.catching import catch
from tests.faults.installation import Installation, installed
from tests.faults.named import FAULTS
from tests.faults.plan import Manner, run_round
from tests.support.system import thrown_away

SEED = 20260504
KILLS, INTERRUPTIONS, ACTIVITIES = 20, 5, 5_000
BUGS = ("badge-off", "blind-counter", "filter-ignored")
PLAN = (
    "kill-anywhere", "postgres-killed", "kill-before-offset", "commit-often-reported-failed", "kill-after-2xx",
    "poison", "kill-anywhere", "postgres-cut", "kill-before-offset", "2xx-lost", "kill-anywhere", "same-name",
    "postgres-half-open", "kill-after-2xx", "kafka-cut", "kill-anywhere", "backends-ended", "kafka-away",
    "kill-anywhere", "postgres-killed", "clients-cut", "kill-before-offset",
)  # fmt: skip


@pytest.fixture(scope="module")
async def installation() -> AsyncIterator[Installation]:
    with thrown_away("faults") as directory:
        async with installed(directory / "installation") as running:
            yield running


@pytest.mark.timeout(1_800)
async def test_nothing_is_lost_doubled_or_forbidden_under_a_plan_of_faults(installation: Installation) -> None:
    manner = Manner(tenants=2, rate=40, bulk_share=2.0, activities_min=ACTIVITIES)
    done = await run_round(installation, PLAN, SEED, manner)
    assert done.broken == {}
    assert done.not_run == {}
    assert done.acknowledged >= ACTIVITIES
    assert done.counts["kills"] >= KILLS
    assert done.counts["interruptions"] >= INTERRUPTIONS


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_planted_bugs_are_caught(installation: Installation) -> None:
    """A handful; `./activities faults planted` does all of them."""
    found = await catch(installation, BUGS, SEED, print)
    assert [each.line() for each in found if not each.right] == []


@pytest.mark.faults
@pytest.mark.timeout(1_800)
async def test_every_kill_loses_nothing_and_doubles_nothing(installation: Installation) -> None:
    done = await run_round(installation, ["kill-everywhere"], SEED + 1, Manner(tenants=2, rate=60))
    assert done.broken == {}


def test_every_fault_has_a_name_and_a_meaning() -> None:
    assert set(PLAN) <= set(FAULTS)
    assert len({fault.meaning for fault in FAULTS.values()}) == len(FAULTS)
