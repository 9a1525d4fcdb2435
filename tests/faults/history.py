"""What was asked and what was answered: one JSON line each, invoked, then ok, failed or unknown.

Whoever timed out, was cut off or got a 5xx does not know: it may have been done. 4xx is failed: it was refused.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Line = dict[str, Any]


class History:
    """Writes the lines of one round to a file. `violations` is what was seen to be wrong while the load ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = {"invoked": 0, "ok": 0, "failed": 0, "unknown": 0, "seen": 0}
        self._numbers = itertools.count(1)
        self._file: BinaryIO = path.open("wb")

    def invoke(self, business: str, kind: str, **more: Any) -> int:
        """Write that something is about to be asked; return its number."""
        number = next(self._numbers)
        self._write({"n": number, "e": "invoked", "b": business, "k": kind, **more})
        return number

    def end(self, number: int, outcome: str, **more: Any) -> None:
        """Write how it ended: ok, failed or unknown."""
        self._write({"n": number, "e": outcome, **more})

    def see(self, business: str, invariant: str, text: str) -> None:
        """Write down something that must not be, seen in an answer."""
        self._write({"e": "seen", "b": business, "i": invariant, "text": text[:500]})

    def close(self) -> None:
        """Write everything out."""
        self._file.close()

    def _write(self, line: Line) -> None:
        self.counts[line["e"]] += 1
        self._file.write(orjson.dumps({**line, "t": round(time.time(), 3)}) + b"\n")


def read(path: Path) -> Iterator[Line]:
    """Read a history; a line that was cut off by a crash is left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue


@dataclass
class Write:
    """One report or request with all times it was sent: under one `source_ref` or Idempotency-Key."""

    action: str
    acknowledged: bool = False
    unknown: bool = False
    refused: bool = False
    expected: int | None = None
    activity_ids: set[str] = field(default_factory=set)
    receipts: set[str] = field(default_factory=set)
    version: int | None = None


@dataclass
class Life:
    """Everything that was asked about one activity."""

    ref: str
    source: str
    writes: dict[str, Write] = field(default_factory=dict)

    @property
    def acknowledged(self) -> set[str]:
        """The actions that were acknowledged."""
        return {write.action for write in self.writes.values() if write.acknowledged}

    @property
    def possible(self) -> set[str]:
        """The actions of unknown outcome."""
        return {write.action for write in self.writes.values() if write.unknown and not write.acknowledged}

    @property
    def activity_ids(self) -> set[str]:
        """The ids under which it was acknowledged; more than one is wrong."""
        return {id_ for write in self.writes.values() for id_ in write.activity_ids}


@dataclass
class Talk:
    """Everything that was asked about one conversation; `taken_wrongly`: with another body than before."""

    acknowledged: bool = False
    unknown: bool = False
    taken_wrongly: bool = False
    ids: set[str] = field(default_factory=set)


@dataclass
class Told:
    """A business's history, put together. `endpoints`: name to when it was deleted (None: it was not)."""

    lives: dict[str, Life] = field(default_factory=dict)
    talks: dict[str, Talk] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    endpoints: dict[str, float | None] = field(default_factory=dict)

    def life_of(self, line: Line) -> Life:
        """Find or begin a life."""
        return self.lives.setdefault(line["ref"], Life(line["ref"], line.get("src", "api")))


def gather(lines: Iterable[Line]) -> dict[str, Told]:
    """Put lines together by business."""
    told: dict[str, Told] = {}
    open_: dict[int, Line] = {}
    for line in lines:
        if line["e"] == "seen":
            told.setdefault(line["b"], Told()).seen.append((line["i"], line["text"]))
        elif line["e"] == "invoked":
            open_[line["n"]] = line
            if line["k"] in ("report", "route"):
                _write_of(told, line)
        elif line["n"] in open_:
            _end(told, open_.pop(line["n"]), line)
    for line in open_.values():
        _end(told, line, {"e": "unknown"})
    return told


def _write_of(told: dict[str, Told], line: Line) -> Write:
    life = told.setdefault(line["b"], Told()).life_of(line)
    return life.writes.setdefault(line["key"], Write(line["act"], expected=line.get("expect")))


def _end(told: dict[str, Told], begun: Line, ended: Line) -> None:
    if begun["k"] == "endpoint":
        if ended["e"] == "ok" and begun["act"] == "make":
            told.setdefault(begun["b"], Told()).endpoints[begun["name"]] = None
        elif ended["e"] == "ok":
            told.setdefault(begun["b"], Told()).endpoints[begun["name"]] = ended["t"]
        return
    if begun["k"] == "talk":
        _end_talk(told.setdefault(begun["b"], Told()).talks.setdefault(begun["ref"], Talk()), begun, ended)
    if begun["k"] not in ("report", "route"):
        return
    write = _write_of(told, begun)
    if ended["e"] == "ok":
        write.acknowledged = True
        write.activity_ids |= {ended["id"]} if "id" in ended else set()
        write.receipts |= {ended["receipt"]} if "receipt" in ended else set()
        write.version = ended.get("v", write.version)
    elif ended["e"] == "failed":
        write.refused = True
    else:
        write.unknown = True


def _end_talk(talk: Talk, begun: Line, ended: Line) -> None:
    if ended["e"] == "ok":
        talk.acknowledged, talk.taken_wrongly = True, talk.taken_wrongly or "expect" in begun
        talk.ids.add(ended["id"])
    elif ended["e"] == "unknown" and "expect" not in begun:
        talk.unknown = True
