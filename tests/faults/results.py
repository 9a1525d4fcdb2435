"""bench/FAULTS.md: one row for each run that was written down."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.plan import Round
from tests.support.system import ROOT

PLANTED_LINE = "Planted bugs:"
PATH = ROOT / "bench" / "FAULTS.md"
COLUMNS = (
    "when", "what", "seed", "seconds", "acknowledged", "kills", "PostgreSQL", "Kafka", "lost", "doubled", "forbidden",
    "across", "broken", "recovery p50 / max",
)  # fmt: skip
HEAD = f"""# Faults: what was broken, and what held

Written by `./activities faults … --write`; every row can be run again with its seed. Acknowledged: activities whose
report or request was answered 2xx under faults. Lost, doubled, forbidden and across businesses are what the checker
found of I1, I2, I7 and I9; broken counts all invariants. Recovery: seconds from the end of a fault until a new report
was applied, shown, counted and told, and every service said that all is well.

| {" | ".join(COLUMNS)} |
{"|---" * len(COLUMNS)}|
"""


@dataclass
class Summary:
    """Several rounds together."""

    what: str
    seed: int
    seconds: float = 0.0
    acknowledged: int = 0
    webhooks: int = 0
    rounds: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    recoveries: list[tuple[str, float, float]] = field(default_factory=list)
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    suffered: dict[str, int] = field(default_factory=dict)

    def add(self, done: Round) -> None:
        """Take in a round."""
        self.rounds += 1
        self.acknowledged += done.acknowledged
        self.webhooks += done.webhooks
        for sums, more in ((self.counts, done.counts), (self.operations, done.operations)):
            for name, count in more.items():
                sums[name] = sums.get(name, 0) + count
        self.recoveries += done.recoveries
        self.not_run |= done.not_run
        for name in done.faults:
            if name not in done.not_run:
                self.suffered[name] = self.suffered.get(name, 0) + 1
        self.broken += [(done.seed, name, text) for name, texts in done.broken.items() for text in texts]

    def count(self, invariants: Sequence[str], words: str = "") -> int:
        """Count what broke these invariants, of which the sentence holds these words."""
        return sum(name in invariants and words in text for _, name, text in self.broken)

    @property
    def recovery(self) -> str:
        """Seconds to whole: median and most."""
        whole = [seconds for _, _, seconds in self.recoveries]
        return f"{statistics.median(whole):.1f} / {max(whole):.1f}" if whole else "–"

    def lines(self) -> list[str]:
        """Say it in lines."""
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        slow = sorted(self.recoveries, key=lambda each: -each[2])[:3]
        return [
            f"{self.what}: seed {self.seed}, {self.rounds} rounds, {self.seconds:.0f} s",
            f"  {self.acknowledged} activities acknowledged, {self.webhooks} webhooks; {counts}",
            f"  operations: {self.operations}",
            f"  recovery p50 / max: {self.recovery} s; slowest: {slow}",
            *(f"  not run: {name}: {why}" for name, why in self.not_run.items()),
            f"  broken: {len(self.broken)}",
            *(f"  {name} (round {seed}): {text}" for seed, name, text in self.broken[:40]),
        ]

    def row(self) -> str:
        """Write the table's row."""
        lost = self.count(["I1"], "is not there") + self.count(["I1"], "knows nothing")
        cells = (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            self.what,
            self.seed,
            round(self.seconds),
            f"{self.acknowledged:,}",
            self.counts.get("kills", 0),
            self.counts.get("interruptions", 0),
            self.counts.get("broker", 0),
            lost,
            self.count(["I1"], " times"),
            self.count(["I2", "I7"]),
            self.count(["I9"]),
            len(self.broken),
            self.recovery,
        )
        return "| " + " | ".join(map(str, cells)) + " |\n"


def write(row: str, path: Path = PATH) -> None:
    """Append a row to the file's table; what stands below the table stays."""
    text = path.read_text() if path.exists() else HEAD
    lines = text.splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if line.startswith("|"))
    lines.insert(last + 1, row)
    path.write_text("".join(lines))


def write_planted(caught: int, count: int, seed: int, seconds: float, path: Path = PATH) -> None:
    """Write the line about planted bugs in place of the one before."""
    text = path.read_text() if path.exists() else HEAD
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(PLANTED_LINE)]
    line = f"{PLANTED_LINE} {caught} of {count} caught, seed {seed}, {seconds:.0f} s, {datetime.now(UTC):%Y-%m-%d}.\n"
    path.write_text(
        "".join(kept).rstrip("\n") + f"\n\n{line}" if not kept or kept[-1].strip() else "".join(kept) + line
    )
