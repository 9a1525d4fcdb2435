"""Whether the checker catches the planted bugs: each run red where it must be, the same run without the bug green."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.faults.installation import Installation
from tests.faults.plan import WHOLE_MAX_S, Manner, run_round
from tests.faults.planted import PLANTED, Bug

MANNER = Manner(tenants=2, rate=12, bulk_share=0.2, seconds_min=9)
PATIENCE_S = 12.0
"""So long everything may take to be well again with a bug, beyond what the same faults took without one."""


@dataclass
class Caught:
    """What came of one bug: what broke, whether it is what had to, and how long the slowest recovery took."""

    name: str
    expected: tuple[str, ...]
    broken: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    recovery_s: float = 0.0

    @property
    def right(self) -> bool:
        """Whether one of the expected invariants broke; without a bug: whether nothing did."""
        return not self.broken if not self.expected else any(name in self.broken for name in self.expected)

    def line(self) -> str:
        """Say it in a line."""
        first = next((texts[0] for name, texts in self.broken.items() if name in self.expected), "")
        first = first or next((texts[0] for texts in self.broken.values()), "")
        word = ("caught" if self.expected else "green") if self.right else ("MISSED" if self.expected else "RED")
        return f"{word:<7} {self.name:<28} {self.seconds:4.0f} s  {' '.join(sorted(self.broken)) or '–'}: {first[:150]}"


async def catch(
    installation: Installation, names: Sequence[str], seed: int, tell: Callable[[str], None]
) -> list[Caught]:
    """Run each bug, and each set of faults without a bug, on one installation, with businesses of their own.

    No bug is planted in it afterwards.
    """
    bugs = [PLANTED[name] for name in names]
    found = []
    for during in dict.fromkeys(each.during for each in bugs):
        name = f"none, {', '.join(during) or 'no faults'}"
        without = await _run(installation, Bug(name, "", lambda: None, (), during), seed, WHOLE_MAX_S)
        found.append(without)
        tell(without.line())
        for number, each in enumerate((each for each in bugs if each.during == during), start=1):
            found.append(await _run(installation, each, seed + number, PATIENCE_S + without.recovery_s))
            tell(found[-1].line())
    await _plant(installation, None)
    return found


async def _run(installation: Installation, planted: Bug, seed: int, patience_s: float) -> Caught:
    await _plant(installation, planted.name if planted.invariants else None)
    try:
        done = await run_round(installation, list(planted.during), seed, replace(MANNER, patience_s=patience_s))
    except AssertionError as error:
        return Caught(planted.name, planted.invariants, {"setup": [str(error)]})
    if done.history is not None:
        done.history.unlink(missing_ok=True)
    recovery_s = max((whole_s for _, _, whole_s in done.recoveries), default=0.0)
    return Caught(planted.name, planted.invariants, done.broken, done.seconds, recovery_s)


async def _plant(installation: Installation, name: str | None) -> None:
    """Start all processes anew, with a bug or without one."""
    for process in installation.processes.values():
        process.planted = name
        if process.running():
            await process.kill()
    await installation.start_all()
