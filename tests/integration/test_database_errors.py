"""What errors of the database say: logs, dead letters and /healthz pass it on."""

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
