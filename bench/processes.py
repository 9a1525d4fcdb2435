"""What processes use: CPU seconds and memory, from /proc."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure

TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Group:
    """Processes that are counted together; with `family`, children of them as well, living and ended.

    `cpu_max_us` is what they may use for a report on its walk.
    """

    name: str
    pids: tuple[int, ...]
    family: bool = False
    cpu_max_us: float | None = None

    def cpu_s(self) -> float:
        """Return user and system time so far."""
        pids = [*self.pids, *(child for pid in self.pids for child in children_of(pid))] if self.family else self.pids
        return sum(_cpu_s(pid, ended=self.family) for pid in pids)

    def memory_mib(self, kind: str) -> float:
        """Return `Rss` or `Pss`."""
        return sum(_memory_kib(pid, kind) for pid in self.pids) / 1024


def cpu_figures(step: str, groups: Sequence[Group], before: Sequence[float], reports: int) -> list[Figure]:
    """Say what each group has used since `before`, per report."""
    return [
        Figure(
            step, f"CPU of {group.name}", (group.cpu_s() - used) / reports * 1e6, "µs/report", group.cpu_max_us, True
        )
        for group, used in zip(groups, before, strict=True)
    ]


def _cpu_s(pid: int, ended: bool) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS_S


def children_of(pid: int) -> list[int]:
    """List the processes that a process has begun and that live."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory_kib(pid: int, kind: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    return 0
