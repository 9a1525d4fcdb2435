"""Who sends what: workers with a lease, and the shards that each of them has."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.database import Transaction
from services.webhook_dispatcher.store.queue import WAITING, Waiting

_FREE = "s.worker is null or (s.worker <> $1 and o.id is null)"


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand: my shards; those nobody living has, with who had them; how many others live; in how many
    seconds the first of their leases ends."""

    mine: frozenset[int]
    free: Sequence[tuple[int, UUID | None]]
    others: int
    next_end_s: float | None


async def look(tx: Transaction, worker: UUID, lease_s: float) -> tuple[Standing, list[Waiting]]:
    """Renew the lease of a worker, new or not; say how things stand and for each endpoint and rank when the store has
    something next. One statement: it is made each second."""
    row = await tx.find(
        f"""
        {WAITING},
        me as (
            insert into worker (id, until) values ($1, now() + make_interval(secs => $2))
                on conflict (id) do update set until = excluded.until),
        other as (
            select id, until from worker where id <> $1 and until > now()),
        standing as (
            select coalesce(array_agg(s.number) filter (where s.worker = $1), '{{}}') as mine,
                   coalesce(array_agg(s.number) filter (where {_FREE}), '{{}}') as free,
                   coalesce(array_agg(s.worker) filter (where {_FREE}), '{{}}') as had
              from shard s left join other o on o.id = s.worker)
        select s.*, (select count(*) from other)::int as others,
               (select extract(epoch from min(until) - now())::float8 from other) as next_end_s, w.*
          from standing s cross join (
               select coalesce(array_agg(business_id), '{{}}') as businesses,
                      coalesce(array_agg(endpoint_id), '{{}}') as endpoints, coalesce(array_agg(rank), '{{}}') as ranks,
                      coalesce(array_agg(extract(epoch from next_at - now())::float8), '{{}}') as due_s
                 from waiting) w
        """,  # noqa: S608
        worker, lease_s,
    )  # fmt: skip
    assert row is not None
    free = list(zip(row["free"], row["had"], strict=True))
    places = zip(row["businesses"], row["endpoints"], row["ranks"], row["due_s"], strict=True)
    standing = Standing(frozenset(row["mine"]), free, row["others"], row["next_end_s"])
    return standing, [Waiting(*place) for place in places]


async def list_others(tx: Transaction, worker: UUID) -> set[UUID]:
    """List the workers besides this one whose leases have not ended."""
    rows = await tx.fetch("select id from worker where id <> $1 and until > now()", worker)
    return {row[0] for row in rows}


async def take(tx: Transaction, worker: UUID, shards: Sequence[tuple[int, UUID | None]]) -> set[int]:
    """Take shards from those who had them; return the ones that nobody else took first."""
    rows = await tx.fetch(
        """update shard s set worker = $1 from unnest($2::int[], $3::uuid[]) as f (number, had)
            where s.number = f.number and s.worker is not distinct from f.had returning s.number""",
        worker, [shard for shard, _ in shards], [had for _, had in shards],
    )  # fmt: skip
    return {row[0] for row in rows}


async def release(tx: Transaction, worker: UUID, shards: Sequence[int]) -> None:
    """Let go of shards."""
    await tx.execute("update shard set worker = null where worker = $1 and number = any($2::int[])", worker, shards)


async def forget(tx: Transaction, workers: Sequence[UUID]) -> None:
    """Forget workers whose leases have ended; one that comes back begins anew."""
    await tx.execute("delete from worker where id = any($1::uuid[]) and until <= now()", workers)


async def leave(tx: Transaction, worker: UUID) -> None:
    """Let go of everything a worker has."""
    await tx.execute("update shard set worker = null where worker = $1", worker)
    await tx.execute("delete from worker where id = $1", worker)
