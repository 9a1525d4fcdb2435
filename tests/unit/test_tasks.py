"""Background tasks: started again when they fail, and spoken of until they go well again."""

import asyncio

from libs.errors import Unavailable
from libs.service.tasks import Tasks
from tests.support.system import eventually


async def test_a_task_that_runs_again_is_no_problem_any_more() -> None:
    tasks, fails = Tasks("test", recovered_s=0.5), asyncio.Event()
    runs = 0

    async def deliver() -> None:
        nonlocal runs
        runs += 1
        if runs <= 2:
            raise Unavailable("the database is away")
        await fails.wait()
        raise ValueError("odd")

    async def runs_again() -> bool:
        return runs == 3

    async def well() -> bool:
        return tasks.problems() == []

    async def bad() -> bool:
        return tasks.problems() == ["deliver: ValueError: odd"]

    tasks.start("deliver", deliver)
    await eventually(runs_again, 30, "it is started again")
    assert tasks.problems() == ["deliver: Unavailable: the database is away"]
    await eventually(well, 30, "what was wrong is forgotten")
    fails.set()
    await eventually(bad, 30, "what goes wrong later is told")
    await tasks.stop()


async def test_a_task_that_keeps_failing_stays_a_problem() -> None:
    tasks = Tasks("test", recovered_s=60)
    told: list[list[str]] = []

    async def deliver() -> None:
        told.append(tasks.problems())
        raise Unavailable("no")

    async def four_times() -> bool:
        return len(told) >= 4

    tasks.start("deliver", deliver)
    await eventually(four_times, 30, "it is started again and again")
    assert told[1:4] == [["deliver: Unavailable: no"]] * 3
    await tasks.stop()
