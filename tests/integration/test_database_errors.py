"""What errors of the database say (logs, dead letters and /healthz pass it on), and what they undo."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from libs.database import Database

MakeDatabase = Callable[[str], Awaitable[Database]]


async def test_an_error_does_not_quote_the_row_that_was_refused(make_database: MakeDatabase) -> None:
    database = await make_database("probe")
    with pytest.raises(asyncpg.NotNullViolationError) as refused:
        async with database.work() as tx:
            await tx.execute(
                "insert into consumer_attempt (consumer_group, topic, part, record_offset) values ($1, null, 1, 1)",
                "Grace Hopper",
            )
    assert "violates not-null constraint" in str(refused.value)
    assert "Grace Hopper" not in str(refused.value)


async def test_what_is_done_alone_stays_whatever_becomes_of_the_transaction_around_it(
    make_database: MakeDatabase,
) -> None:
    database = await make_database("probe")
    insert = "insert into consumer_attempt (consumer_group, topic, part, record_offset) values ($1, 't', 1, 1)"

    async def fail(*, anew: bool) -> None:
        async with database.work(plan_anew=anew) as tx:
            with tx.alone():
                await tx.execute(insert, "alone")
            assert not tx.begun
            await tx.execute(insert, "within")
            assert tx.begun
            raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await fail(anew=False)
    with pytest.raises(asyncpg.UniqueViolationError):
        await fail(anew=True)
    async with database.work(plan_anew=True) as tx:
        assert [row[0] for row in await tx.fetch("select consumer_group from consumer_attempt")] == ["alone"]
