"""Events as the first release wrote them are handled as if today's had: what they lack reads as its default."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from libs.contracts.activity import ActivityEvent
from libs.contracts.decoding import decoder_of
from libs.database import Database
from services.reporting.handlers import count_activities
from services.timeline_projector.handlers import show_activities
from tests.conftest import MakeDatabase

GOLDEN = Path(__file__).parents[1] / "contracts" / "golden"
FIRST = ("activity.created.v1", "activity.completed.v1", "activity.changed.v1", "activity.appended.v1")
HANDLERS = {"timeline_projector": show_activities, "reporting": count_activities}
TABLES = {"timeline_projector": ("activity_head", "entry"), "reporting": ("fact", "rollup")}


def _as_written_today(then: bytes) -> bytes:
    """The same event with every field that has come since, spelled out."""
    return ActivityEvent.model_validate_json(then).model_dump_json().encode()


async def _rows_after(database: Database, package: str, value: bytes) -> list[list[Any]]:
    async with database.work() as tx:
        for table in TABLES[package]:
            await tx.execute(f"delete from {table}")
        await HANDLERS[package](tx, [decoder_of(ActivityEvent)(value)])
        return [sorted(map(str, map(tuple, await tx.fetch(f"select * from {table}")))) for table in TABLES[package]]


@pytest.mark.parametrize("package", HANDLERS)
async def test_events_of_the_first_release_are_handled_as_todays(make_database: MakeDatabase, package: str) -> None:
    database = await make_database(package)
    for name in FIRST:
        then = (GOLDEN / f"{name}.json").read_bytes()
        now = _as_written_today(then)
        assert orjson.loads(now)["activity"].keys() > orjson.loads(then)["activity"].keys(), "nothing has come since"
        rows = await _rows_after(database, package, then)
        assert rows == await _rows_after(database, package, now)
        assert rows[0], f"{name} left nothing behind"
