"""Lists of scheduled activities among a million, and reading one: rows made by SQL, asked for over HTTP."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
import orjson

from bench.callers import Caller, request_of, user_of
from bench.figures import Figure, latencies
from bench.system import System, Tenant
from cli.place import Trouble
from libs.contracts.ids import preset_id_of

ACTIVITIES, MEMBERS, CONNECTIONS = 1_000_000, 100, 2
LISTS, ONES = 1_500, 2_000
LIST_MS, ONE_MS = 30.0, 15.0
LIST = "/api/activities/scheduled-activity"

_DOCUMENTS = """
    insert into history (business_id, activity_id, version, type, recorded_at, document, salt, hash)
    select a.business_id, a.activity_id, 1, 'activity.created', a.created_at,
        convert_to(json_build_object('activity', json_build_object(
            'business_id', a.business_id, 'activity_id', a.activity_id, 'version', 1, 'type', 'call',
            'type_id', a.type_id, 'type_name', 'Call', 'at', a.due_at, 'created_at', a.created_at,
            'recorded_at', a.created_at,
            'planned_at', a.planned_at, 'due_at', a.due_at, 'original_due_at', a.due_at, 'logged_at', a.logged_at,
            'completed_at', a.completed_at, 'subject', 'Renewal call', 'notes', a.search,
            'assignee', json_build_object('member_id', a.assignee_member_id, 'name', 'Jordan Example')),
            'change', json_build_object('type', 'activity.created'))::text, 'UTF8'),
        decode('00000000000000000000000000000000', 'hex'), sha256(a.activity_id::text::bytea)
    from activity a where a.business_id = $1
"""
_ACTIVITIES = """
    insert into activity (business_id, activity_id, version, type_id, heard, assignee_member_id, created_at, planned_at,
        due_at, logged_at, completed_at, search)
    select $1, gen_random_uuid(), 1, $2, case when abs(hashint4(n)) % 10 < 8 then 4 else 0 end,
        case when abs(hashint4(n + 1)) % 50 = 0 then $5 else md5($1::uuid::text || abs(hashint4(n + 2)) % $4)::uuid end,
        now() - n * interval '30 seconds', now() - n * interval '30 seconds',
        now() + interval '60 days' - n * interval '31 seconds' + (n % 7) * interval '1 day',
        case when abs(hashint4(n)) % 10 < 8 then now() end, case when abs(hashint4(n)) % 10 < 8 then now() end,
        'call' || chr(10) || 'renewal call' || chr(10) || 'customer ' || n || ' wants offer ' || (n % 977)
    from generate_series(1, $3::int) as n
"""


async def measure(system: System, tenant: Tenant, advance: Callable[[], None]) -> list[Figure]:
    """List 50 with three filters at a time, turn to a late page, read single ones; 2 connections."""
    user = await user_of(tenant)
    members, activities = await _fill(system, tenant, user["x-user-id"])
    advance()
    paths = [f"{LIST}?{urlencode(_filters(random.Random(number), members))}" for number in range(LISTS)]
    await _ask(tenant, user, paths[:100])
    listed = await _ask(tenant, user, paths)
    advance()
    late = await _ask(tenant, user, [await _late_page(tenant, user)] * 200)
    advance()
    ones = await _ask(tenant, user, [f"{LIST}/{each}" for each in activities])
    advance()
    return [
        *latencies("lists", "50 of a million, three filters", listed, LIST_MS),
        *latencies("lists", "the page after the 10,000th", late, LIST_MS),
        *latencies("lists", "one of a million", ones, ONE_MS),
    ]


def _filters(chance: random.Random, members: Sequence[str]) -> dict[str, str]:
    """Choose three filters, and an order."""
    day = f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    chosen = chance.choice((
        {"employee_ids": chance.choice(members), "completed": "false", "from_date": day},
        {"employee_ids": chance.choice(members), "overdue": "true", "activity_name": "call"},
        {"assigned_to_me": "true", "completed": "false", "search": f"offer {chance.randint(0, 976)}"},
        {"activity_name": "call", "completed": "false", "to_date": day},
        {"employee_ids": chance.choice(members), "completed": "true", "search": "renewal"},
        {"overdue": "false", "activity_name": "call", "from_date": day},
    ))  # fmt: skip
    return {**chosen, "page_size": "50", "ordering": chance.choice(("due_datetime", "-due_datetime"))}


async def _fill(system: System, tenant: Tenant, user_id: str) -> tuple[list[str], list[str]]:
    """Make the rows; returns some members and some activities. Triggers are off: they would hash it all."""
    connection = await asyncpg.connect(system.database_url("activities_lifecycle"))
    try:
        await connection.execute("set session_replication_role = replica")
        kind = str(preset_id_of(UUID(tenant.business_id), "activity_object", "call"))
        await connection.execute(_ACTIVITIES, tenant.business_id, kind, ACTIVITIES, MEMBERS, user_id, timeout=600)
        await connection.execute(_DOCUMENTS, tenant.business_id, timeout=600)
        await connection.execute("vacuum analyze activity")
        await connection.execute("vacuum analyze history")
        rows = await connection.fetch(
            "select activity_id, assignee_member_id from activity where business_id = $1 limit $2",
            tenant.business_id, ONES,
        )  # fmt: skip
    finally:
        await connection.close()
    return sorted({str(row[1]) for row in rows}), [str(row[0]) for row in rows]


async def _late_page(tenant: Tenant, user: Mapping[str, str]) -> str:
    """Go to page 10,000 by its number, and return where the next one is."""
    connection = await Caller.connect(tenant)
    path = f"{LIST}?page_size=50&page=10000"
    status, said = await connection.ask(request_of(tenant, "GET", path, b"", user))
    connection.close()
    if status != 200:
        raise Trouble(f"GET {path} answered {status}: {said[:300]!r}")
    return str(orjson.loads(said)["next"])


async def _ask(tenant: Tenant, user: Mapping[str, str], paths: Sequence[str]) -> list[float]:
    """Ask for all of them; returns how long each took. Raises Trouble for a refusal."""
    took: list[float] = []
    waiting = iter(paths)

    async def repeat() -> None:
        connection = await Caller.connect(tenant)
        for path in waiting:
            began = time.perf_counter()
            status, said = await connection.ask(request_of(tenant, "GET", path, b"", user))
            took.append(time.perf_counter() - began)
            if status != 200:
                raise Trouble(f"GET {path} answered {status}: {said[:300]!r}")
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(repeat())
    return took
