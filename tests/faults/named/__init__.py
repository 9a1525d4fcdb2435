"""The faults by name. A fault happens and heals what only it can; the plan heals the rest and measures recovery.

`needs` says what it takes besides: "" goes into any round, "long" takes minutes, "alone" needs an installation with a
process per service that nothing uses afterwards.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.rig import Rig

Happen = Callable[["Rig"], Awaitable[None]]


class NotRun(Exception):
    """This machine cannot do it; the message says why."""


@dataclass(frozen=True)
class Fault:
    """A name, a line of meaning, and how it happens."""

    name: str
    meaning: str
    happen: Happen
    needs: str = ""


FAULTS: dict[str, Fault] = {}


def fault(name: str, meaning: str, needs: str = "") -> Callable[[Happen], Happen]:
    """Give a fault its name."""

    def named(happen: Happen) -> Happen:
        assert name not in FAULTS, name
        FAULTS[name] = Fault(name, meaning, happen, needs)
        return happen

    return named


from tests.faults.named import brokers, databases, inbound, machines, messages, processes, receivers, recoveries  # noqa: E402

__all__ = [
    "FAULTS", "Fault", "NotRun", "brokers", "databases", "fault", "inbound", "machines", "messages", "processes",
    "receivers", "recoveries",
]  # fmt: skip
