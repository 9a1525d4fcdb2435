"""A PostgreSQL as one that has run for a while is, so that what is measured is not what came before it."""

import asyncpg

WAL_FILES = 60


async def make_wal_files(admin_url: str) -> None:
    """Have it hold the files of WAL that it will use: after a checkpoint it uses old ones again (`min_wal_size`), and
    until then makes one for each 16 MB while all commits wait (40 ms).
    """
    admin = await asyncpg.connect(admin_url)
    try:
        for _ in range(WAL_FILES):
            await admin.execute("select pg_current_xact_id()")  # a file without anything in it is not left
            await admin.execute("select pg_switch_wal()")
        await admin.execute("checkpoint")
    finally:
        await admin.close()


async def vacuum(database_url: str) -> None:
    """Do at once what autovacuum would do some time later, beside what is measured."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("vacuum (analyze)")
    finally:
        await connection.close()
