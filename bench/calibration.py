"""How fast the machine is at the moment: fixed work that has nothing of ours in it, next to every run's figures."""

import mmap
import os
import random
import socket
import time
from dataclasses import dataclass

ADDITIONS, LOOPS = 100_000, 15
MESSAGE_BYTES, MESSAGES = 300, 5_000
PAGES = 8_192
OBJECTS = 500_000


@dataclass(frozen=True)
class Speed:
    """What fixed work takes: additions in Python, bytes to another process and back, a new page, a far object read."""

    additions_ms: float
    message_us: float
    page_us: float
    object_ns: float

    def __str__(self) -> str:
        return (
            f"{ADDITIONS:,} additions {self.additions_ms:.1f} ms, "
            f"{MESSAGE_BYTES} bytes to another process and back {self.message_us:.0f} µs, "
            f"a new page of memory {self.page_us:.1f} µs, one of {OBJECTS:,} scattered objects {self.object_ns:.0f} ns"
        )


def measure() -> Speed:
    """Measure for about a second on a machine that is not busy. All but messages are the least of several rounds."""
    return Speed(
        min(_additions() for _ in range(LOOPS)) * 1e3,
        _messages() / MESSAGES * 1e6,
        min(_pages() for _ in range(3)) / PAGES * 1e6,
        _objects() / OBJECTS * 1e9,
    )


def _additions() -> float:
    begin, total = time.perf_counter(), 0
    for number in range(ADDITIONS):
        total += number
    return time.perf_counter() - begin


def _messages() -> float:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        while received := theirs.recv(MESSAGE_BYTES):
            theirs.send(received)
        os._exit(0)
    theirs.close()
    begin, message = time.perf_counter(), bytes(MESSAGE_BYTES)
    for _ in range(MESSAGES):
        ours.send(message)
        ours.recv(MESSAGE_BYTES)
    taken = time.perf_counter() - begin
    ours.close()
    os.waitpid(child, 0)
    return taken


def _pages() -> float:
    """Touch new pages, then the same again; the difference is what the kernel took to give them."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        return _touch(memory) - _touch(memory)


def _touch(memory: mmap.mmap) -> float:
    begin = time.perf_counter()
    for start in range(0, PAGES * mmap.PAGESIZE, mmap.PAGESIZE):
        memory[start] = 1
    return time.perf_counter() - begin


def _objects() -> float:
    """Add up numbers that lie in memory in another order than in the list."""
    numbers = [number + ADDITIONS for number in range(OBJECTS)]
    random.Random(1).shuffle(numbers)
    return min(_sum(numbers) for _ in range(3))


def _sum(numbers: list[int]) -> float:
    begin = time.perf_counter()
    sum(numbers)
    return time.perf_counter() - begin
