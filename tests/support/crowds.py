"""Crowds: businesses that have thousands of rows in each table, and what a transaction reads of them."""

from uuid import UUID

import asyncpg

from libs.database import Database, Transaction

ROWS = 1_500
SEEDS = 20
_TABLES = """
    select c.relname from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'business_id'
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
        and c.relname not in ('activity_object', 'api_key', 'business', 'outbox', 'record_object') order by 1
"""
_COLUMNS = """
    select a.attname, a.atttypid = 'uuid'::regtype and a.attname <> 'business_id' as is_id,
        a.attname in ('email', 'api_name') as is_name
    from pg_attribute a where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = '' order by a.attnum
"""
_KEYS = """
    select distinct a.attname from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
    where i.indrelid = $1::text::regclass and i.indisunique
"""


async def crowd(database: Database, business_id: UUID, rows: int = ROWS) -> None:
    """Let a business have thousands of rows in each table where it has one: copies of those under ids of their own."""
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("set session_replication_role = replica")
    for (table,) in await owner.fetch(_TABLES):
        keys = {row[0] for row in await owner.fetch(_KEYS, table)}
        names, values = [], []
        for name, is_id, is_name in await owner.fetch(_COLUMNS, table):
            names.append(name)
            values.append(
                "gen_random_uuid()" if is_id and name in keys else f"{name} || '.' || n" if is_name else f"seed.{name}"
            )
        await owner.execute(
            f"""
            with seed as materialized (select * from {table} where business_id = $1 limit {SEEDS})
            insert into {table} ({", ".join(names)})
            select {", ".join(values)} from seed
            cross join generate_series(1, $2 / greatest(1, (select count(*) from seed))) as n on conflict do nothing
            """,
            business_id, rows,
        )  # fmt: skip
    await owner.close()


async def count_rows(database: Database) -> None:
    """Let the planner count all tables as they are now."""
    owner = await asyncpg.connect(database.urls.owner)
    await owner.execute("analyze")
    await owner.close()


async def read_so_far(tx: Transaction) -> dict[str, int]:
    """Count the rows that this connection has taken from each table lately, of partitions by their table's name.

    Lately: since its numbers were last handed in, which is not in the middle of a transaction.
    """
    rows = await tx.fetch(
        """
        select coalesce(i.inhparent::regclass::text, s.relname), sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0))
        from pg_stat_xact_user_tables s left join pg_inherits i on i.inhrelid = s.relid group by 1
        """
    )
    return {row[0]: int(row[1]) for row in rows}
