"""What it takes to send to an endpoint, as it is now."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from libs.database import Transaction


class Target(NamedTuple):
    """An endpoint to send to. `secrets` are sealed, the newest first; None: the service's own.

    `held_s`: for how long it is to be left alone; `holds`: how often in a row its breaker opened.
    """

    business_id: UUID
    endpoint_id: UUID
    version: int
    url: str
    status: str
    deleted: bool
    secrets: tuple[bytes, ...]
    headers: Mapping[str, str] = {}
    rate_limit_per_s: float | None = None
    timeout_s: float | None = None
    schedule_s: Sequence[float] | None = None
    ordered: bool = False
    held_s: float = 0.0
    holds: int = 0


COLUMNS = """e.business_id, e.id, e.version, e.url, e.status, e.deleted_at is not null as deleted,
             array(select s.sealed from endpoint_secret s
                    where s.business_id = e.business_id and s.endpoint_id = e.id
                      and (s.expires_at is null or s.expires_at > now()) order by s.id desc) as secrets,
             e.headers, e.rate_limit_per_s, e.timeout_s, e.schedule_s, e.ordered,
             coalesce(extract(epoch from e.held_until - now()), 0)::float8 as held_s, e.holds"""
"""Of `endpoint e`; a row that begins with them makes a target."""


def target_of(row: Any) -> Target:
    """Make a target of a row that begins with `COLUMNS`."""
    return Target._make((*row[:6], tuple(row[6]), orjson.loads(row[7]), *row[8:14]))


async def list_targets(tx: Transaction, places: Sequence[tuple[UUID, UUID]]) -> list[Target]:
    """List these endpoints, by (business, id), also those that are paused, disabled or deleted."""
    rows = await tx.fetch(
        f"""select {COLUMNS} from unnest($1::uuid[], $2::uuid[]) as wanted (business_id, id)
              join endpoint e on e.business_id = wanted.business_id and e.id = wanted.id""",  # noqa: S608
        [place[0] for place in places], [place[1] for place in places],
    )  # fmt: skip
    return [target_of(row) for row in rows]
