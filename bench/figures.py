"""Figures with their targets: shown as a table, written as RESULTS.md."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from bench.calibration import Speed
from libs.embedded.kafka_files import find_program
from libs.embedded.packages import cache_directory
from libs.embedded.postgres import find_binaries

RESULTS = Path(__file__).with_name("RESULTS.md")
LIBRARIES = ("aiokafka", "asyncpg", "faststream", "msgspec", "pydantic", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Figure:
    """One thing measured. `target` with `most` is an upper bound, without it a lower one; None: for information."""

    step: str
    name: str
    value: float
    unit: str
    target: float | None = None
    most: bool = False

    @property
    def verdict(self) -> str:
        """Say whether the target is met."""
        if self.target is None:
            return ""
        met = self.value <= self.target if self.most else self.value >= self.target
        return "met" if met else "MISSED"

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return what a row of a table shows."""
        sign = "≤" if self.most else "≥"
        target = "" if self.target is None else f"{sign} {self.target:,g} {self.unit}"
        digits = 0 if self.value >= 1000 else 2 if self.unit == "times" else 1
        return self.step, self.name, f"{self.value:,.{digits}f} {self.unit}", target, self.verdict


INTRODUCTION = """\
# Results

Written by `./activities bench --write`; what is measured how: `README.md`. Heads of sections are of the latest run."""
HEADINGS = ("step", "what", "measured", "target", "")


def latencies(step: str, name: str, seconds: Sequence[float], target_ms: float) -> list[Figure]:
    """Turn durations into p50, p95 and p99; the target is for p99."""
    return [
        Figure(step, f"{name}, p50", percentile(seconds, 0.50) * 1000, "ms"),
        Figure(step, f"{name}, p95", percentile(seconds, 0.95) * 1000, "ms"),
        Figure(step, f"{name}, p99", percentile(seconds, 0.99) * 1000, "ms", target_ms, most=True),
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table_of(figures: Sequence[Figure]) -> Table:
    """Make the table for the terminal."""
    table = Table(title="Measured")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number in (2, 3) else "left")
    for figure in figures:
        style = "bold red" if figure.verdict == "MISSED" else None
        table.add_row(*figure.cells(), style=style)
    return table


def write(figures: Sequence[Figure], section: str, machine: Sequence[str]) -> None:
    """Put figures into their section of RESULTS.md with the time and the machine (`machine_at`); others there stay."""
    sections = _sections()
    new = [f"{line} {datetime.now(UTC):%m-%d %H:%M} |" for line in _rows(figures)[2:]]
    measured = {_named(line) for line in new}
    kept = [line for line in sections.get(section, ()) if line.startswith("| ") and _named(line) not in measured]
    kept = [line for line in kept if _named(line) != HEADINGS[:2]]
    heads = [f"{line} when |" if number == 0 else f"{line}---|" for number, line in enumerate(_rows([]))]
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    about = [*machine, f"Python {platform.python_version()}, {_postgresql()}, Kafka {_kafka()}; {versions}"]
    sections[section] = [*(f"- {line}" for line in about), "", *heads, *kept, *new]
    texts = ["\n".join([f"## {name}", "", *lines]) for name, lines in sections.items()]
    RESULTS.write_text("\n\n".join([INTRODUCTION, *texts]) + "\n")


def _sections() -> dict[str, list[str]]:
    """Read the lines of each section, the headings as keys."""
    parts = RESULTS.read_text().split("\n## ")[1:] if RESULTS.exists() else []
    return {name: text.strip().splitlines() for name, _, text in (part.partition("\n") for part in parts)}


def _named(row: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in row.split("|")[1:3])


def _rows(figures: Sequence[Figure]) -> list[str]:
    rows = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---:|---:|---|"]
    return rows + ["| " + " | ".join(figure.cells()) + " |" for figure in figures]


def machine_at(before: Speed, after: Speed) -> list[str]:
    """Describe the machine and how fast it was before and after what was measured."""
    return [_machine(), f"before: {before}", f"after: {after}"]


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores ({model}), {memory_gib:.0f} GiB, Linux {platform.release()}"


def _postgresql() -> str:
    said = subprocess.run([find_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip().replace("postgres (PostgreSQL)", "PostgreSQL")


def _kafka() -> str:
    jar = next(path for path in find_program(cache_directory()).jars if path.name.startswith("kafka-clients-"))
    return jar.stem.removeprefix("kafka-clients-")
