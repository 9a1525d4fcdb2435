"""Sealing all secrets again after the master key was rotated."""

from uuid import UUID

from libs.database import Database
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.store import endpoints

SLICE_ROWS = 500
_FIRST = UUID(int=0), UUID(int=0), UUID(int=0)


async def reseal(database: Database, master_keys: str) -> tuple[int, int]:
    """Seal every secret under the first of the master keys; return how many, and how many no master key opens."""
    sealer, after = Sealer(master_keys), _FIRST
    done = lost = 0
    while True:
        async with database.work() as tx:
            rows = await endpoints.list_sealed(tx, after, SLICE_ROWS)
            again = [(*row[:3], sealer.reseal(row[3], row[0], row[1])) for row in rows]
            kept = [(one[0], one[1], one[2], one[3]) for one in again if one[3] is not None]
            await endpoints.save_sealed(tx, kept)
        done, lost = done + len(kept), lost + len(rows) - len(kept)
        if len(rows) < SLICE_ROWS:
            return done, lost
        after = rows[-1][:3]
