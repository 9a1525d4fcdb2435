"""Bugs on purpose, one at a time; each must turn the checker red, or the checker is worth nothing.

A bug's `invariants` are those of which at least one must break; `during` the faults that bring it out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bug:
    """A name, a line of meaning, how it is planted, what must turn red, and during which faults."""

    name: str
    meaning: str
    plant: Callable[[], None]
    invariants: tuple[str, ...]
    during: tuple[str, ...] = ()


PLANTED: dict[str, Bug] = {}


def bug(name: str, meaning: str, *invariants: str, during: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Give a bug its name."""

    def named(plant: Callable[[], None]) -> Callable[[], None]:
        assert name not in PLANTED, name
        PLANTED[name] = Bug(name, meaning, plant, invariants, during)
        return plant

    return named


from tests.faults.planted import acknowledged, activities, shown, told, walls  # noqa: E402

__all__ = ["PLANTED", "Bug", "acknowledged", "activities", "bug", "shown", "told", "walls"]
