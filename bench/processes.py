"""What processes use: CPU seconds and memory, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Group:
    """Processes that are counted together; with `family`, children of them as well, living and ended."""

    name: str
    pids: tuple[int, ...]
    family: bool = False

    def cpu_s(self) -> float:
        """Return user and system time so far."""
        pids = [*self.pids, *(child for pid in self.pids for child in _children(pid))] if self.family else self.pids
        return sum(_cpu_s(pid, ended=self.family) for pid in pids)

    def memory_mib(self, kind: str) -> float:
        """Return `Rss` or `Pss`."""
        return sum(_memory_kib(pid, kind) for pid in self.pids) / 1024


def _cpu_s(pid: int, ended: bool) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS_S


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory_kib(pid: int, kind: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    return 0
