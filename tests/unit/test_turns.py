"""Slices of work on many things, and who else has the loop between them."""

import asyncio
from collections import Counter

from libs.turns import SLICE, give_way, take_turn

WORKERS, SLICES = 4, 5


def test_one_slice_is_worked_on_in_each_round_of_the_loop_and_all_come_to_theirs() -> None:
    async def work() -> None:
        loop, rounds, over = asyncio.get_running_loop(), [0], asyncio.Event()

        def count() -> None:
            rounds[0] += 1
            if not over.is_set():
                loop.call_soon(count)

        had: list[tuple[int, int]] = []

        async def slices(worker: int) -> None:
            for _ in range(SLICES):
                await take_turn()
                had.append((rounds[0], worker))

        count()
        async with asyncio.TaskGroup() as tasks:
            for worker in range(WORKERS):
                tasks.create_task(slices(worker))
        over.set()
        assert max(Counter(at for at, _ in had).values()) == 1
        assert [worker for _, worker in had] == list(range(WORKERS)) * SLICES

    asyncio.run(work())


def test_who_gives_up_waiting_holds_up_nobody() -> None:
    async def work() -> None:
        waiting = [asyncio.create_task(take_turn()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        async with asyncio.timeout(5):
            await waiting[2]
            await take_turn()

    asyncio.run(work())


def test_others_have_the_loop_after_each_slice() -> None:
    async def work() -> int:
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                await asyncio.sleep(0)
                others += 1

        task = asyncio.create_task(other())
        for number in range(3 * SLICE):
            before = others
            await give_way(number)
            assert (others > before) == (number % SLICE == SLICE - 1)
        task.cancel()
        return others

    assert asyncio.run(work()) >= 3
