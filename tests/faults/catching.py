"""Whether the checker catches the planted bugs: each run red where it must be, the same run without the bug green."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.installation import Installation
from tests.faults.plan import Manner, run_round
from tests.faults.planted import PLANTED, Bug

MANNER = Manner(tenants=2, rate=12, bulk_share=0.2, seconds_min=9, patience_s=12)


@dataclass
class Caught:
    """What came of one bug: what broke, and whether it is what had to."""

    name: str
    expected: tuple[str, ...]
    broken: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

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
    """Run each bug, and each set of faults without a bug, on one installation, with businesses of their own."""
    bugs = [PLANTED[name] for name in names]
    found = []
    for during in dict.fromkeys(each.during for each in bugs):
        controlled = Bug(f"none, {', '.join(during) or 'no faults'}", "", lambda: None, (), during)
        for number, each in enumerate([controlled, *(each for each in bugs if each.during == during)]):
            found.append(await _run(installation, each, seed + number))
            tell(found[-1].line())
    return found


async def _run(installation: Installation, planted: Bug, seed: int) -> Caught:
    for process in installation.processes.values():
        process.planted = planted.name if planted.invariants else None
        if process.running():
            await process.kill()
    await installation.start_all()
    try:
        done = await run_round(installation, list(planted.during), seed, MANNER)
    except AssertionError as error:
        return Caught(planted.name, planted.invariants, {"setup": [str(error)]})
    if done.history is not None:
        done.history.unlink(missing_ok=True)
    return Caught(planted.name, planted.invariants, done.broken, done.seconds)
