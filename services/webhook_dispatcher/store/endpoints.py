"""Endpoints, their revisions and their sealed secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from libs.database import Transaction

Row = dict[str, Any]
COLUMNS = """business_id, id, version, kind, activity_object_id, url, description, event_types, sources,
             activity_objects, record_objects, expression, body_form, headers, rate_limit_per_s, timeout_s, ordered,
             skip_after_s, schedule_s, status, disabled_reason, failing_since, created_at, updated_at,
             array(select s.public_key from endpoint_secret s
                    where s.business_id = endpoint.business_id and s.endpoint_id = endpoint.id
                      and s.public_key is not null and (s.expires_at is null or s.expires_at > now())
                    order by s.id desc) as public_keys,
             (select case when s.public_key is null then 'v1' else 'v1a' end from endpoint_secret s
               where s.business_id = endpoint.business_id and s.endpoint_id = endpoint.id
               order by s.id desc limit 1) as signature"""
"""With the public keys that are live, the newest first, and how the newest key signs."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What a caller decides about an endpoint; `headers` as JSON."""

    url: str
    description: str
    event_types: Sequence[str]
    sources: Sequence[str]
    activity_objects: Sequence[str]
    status: str
    disabled_reason: str | None = None
    record_objects: Sequence[str] = ()
    expression: str = ""
    body_form: str = "full"
    headers: bytes = b"{}"
    rate_limit_per_s: float | None = None
    timeout_s: float | None = None
    ordered: bool = False
    skip_after_s: float = 3_600.0
    schedule_s: Sequence[float] | None = None

    def document(self) -> bytes:
        """Write it as a revision keeps it."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return orjson.dumps(named | {"headers": orjson.Fragment(self.headers)})

    def values(self) -> list[Any]:
        """List its values in the order of STATE."""
        return [getattr(self, name) for name in STATE]


STATE: tuple[str, ...] = tuple(EndpointState.__slots__)
_PLACES = [f"${place}" for place in range(3, 3 + len(STATE))]


Origin = tuple[str, UUID | None]
"""Its kind, and the activity object whose endpoint it is."""


async def insert_endpoint(
    tx: Transaction, business_id: UUID, id_: UUID, state: EndpointState, origin: Origin = ("own", None)
) -> Row:
    """Insert an endpoint at version 1."""
    row = await tx.find(
        f"""
        insert into endpoint (business_id, id, version, {", ".join(STATE)}, kind, activity_object_id)
        values ($1, $2, 1, {", ".join(_PLACES)}, ${3 + len(STATE)}, ${4 + len(STATE)}) returning {COLUMNS}
        """,  # noqa: S608
        business_id, id_, *state.values(), *origin,
    )  # fmt: skip
    assert row is not None
    return dict(row)


async def update_endpoint(tx: Transaction, business_id: UUID, id_: UUID, state: EndpointState) -> Row:
    """Save a new version of an endpoint that the caller has locked."""
    changes = ", ".join(f"{name} = {place}" for name, place in zip(STATE, _PLACES, strict=True))
    status = _PLACES[STATE.index("status")]
    row = await tx.find(
        f"""
        update endpoint set version = version + 1, updated_at = now(), {changes},
               failing_since = case when status <> {status} then null else failing_since end
         where business_id = $1 and id = $2 returning {COLUMNS}
        """,  # noqa: S608
        business_id, id_, *state.values(),
    )  # fmt: skip
    assert row is not None
    return dict(row)


async def delete_endpoint(tx: Transaction, business_id: UUID, id_: UUID) -> None:
    """Mark an endpoint as deleted and take its secrets away; its history stays."""
    await tx.execute(
        """
        with gone as (delete from endpoint_secret where business_id = $1 and endpoint_id = $2)
        update endpoint set deleted_at = now(), version = version + 1, status = 'disabled', disabled_reason = 'deleted'
         where business_id = $1 and id = $2
        """,
        business_id, id_,
    )  # fmt: skip


async def insert_revision(
    tx: Transaction, business_id: UUID, endpoint: tuple[UUID, int], by_key: UUID | None, document: bytes
) -> None:
    """Keep what an endpoint was at a version, so that what matched then can be judged later."""
    await tx.execute(
        """insert into endpoint_revision (business_id, endpoint_id, version, by_key, document)
           values ($1, $2, $3, $4, $5)""",
        business_id, *endpoint, by_key, document,
    )  # fmt: skip


async def find_endpoint(tx: Transaction, business_id: UUID, id_: UUID, *, lock: bool = False) -> Row | None:
    """Find an endpoint that is not deleted, and lock it for a write."""
    row = await tx.find(
        f"""select {COLUMNS} from endpoint where business_id = $1 and id = $2 and deleted_at is null
            {"for update" if lock else ""}""",  # noqa: S608
        business_id, id_,
    )  # fmt: skip
    return None if row is None else dict(row)


async def list_endpoints(tx: Transaction, business_id: UUID, after: UUID | None, limit: int) -> list[Row]:
    """List a business's endpoints, newest first."""
    rows = await tx.fetch(
        f"""select {COLUMNS} from endpoint
             where business_id = $1 and deleted_at is null and ($2::uuid is null or id < $2)
             order by id desc limit $3""",  # noqa: S608
        business_id, after, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def count_endpoints(tx: Transaction, business_id: UUID) -> int:
    """Count the endpoints that a business made itself and that are not deleted."""
    return int(
        await tx.value(
            "select count(*) from endpoint where business_id = $1 and kind = 'own' and deleted_at is null", business_id
        )
    )


async def lock_number(tx: Transaction, business_id: UUID) -> None:
    """Let only one transaction at a time add an endpoint to a business."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended($1::text, 4713))", f"endpoints {business_id}")


async def insert_secret(
    tx: Transaction, business_id: UUID, endpoint_id: UUID, secret: tuple[UUID, bytes], public_key: bytes | None = None
) -> None:
    """Keep a sealed secret, or a sealed private key with its public one."""
    await tx.execute(
        "insert into endpoint_secret (business_id, endpoint_id, id, sealed, public_key) values ($1, $2, $3, $4, $5)",
        business_id, endpoint_id, *secret, public_key,
    )  # fmt: skip


async def list_live_secrets(tx: Transaction, business_id: UUID, endpoint_id: UUID) -> list[bytes]:
    """List the sealed secrets that an endpoint is signed with now, the newest first."""
    rows = await tx.fetch(
        """select sealed from endpoint_secret where business_id = $1 and endpoint_id = $2
              and (expires_at is null or expires_at > now()) order by id desc""",
        business_id, endpoint_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def expire_secrets(tx: Transaction, business_id: UUID, endpoint_id: UUID, valid_s: float) -> None:
    """Let the live secrets of an endpoint end `valid_s` from now, or earlier where that was said; drop ended ones."""
    await tx.execute(
        """
        with ended as (delete from endpoint_secret
                        where business_id = $1 and endpoint_id = $2 and expires_at <= now())
        update endpoint_secret set expires_at = least(expires_at, now() + make_interval(secs => $3))
         where business_id = $1 and endpoint_id = $2 and (expires_at is null or expires_at > now())
        """,
        business_id, endpoint_id, valid_s,
    )  # fmt: skip


async def list_sealed(
    tx: Transaction, after: tuple[UUID, UUID, UUID], limit: int
) -> list[tuple[UUID, UUID, UUID, bytes]]:
    """List sealed secrets of all businesses, in order of (business, endpoint, id), locked for a change."""
    rows = await tx.fetch(
        """select business_id, endpoint_id, id, sealed from endpoint_secret
            where (business_id, endpoint_id, id) > ($1, $2, $3) order by 1, 2, 3 limit $4 for update""",
        *after, limit,
    )  # fmt: skip
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def save_sealed(tx: Transaction, secrets: Sequence[tuple[UUID, UUID, UUID, bytes]]) -> None:
    """Save secrets that were sealed again."""
    await tx.execute(
        """update endpoint_secret s set sealed = n.sealed
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[]) as n (business_id, endpoint_id, id, sealed)
            where s.business_id = n.business_id and s.endpoint_id = n.endpoint_id and s.id = n.id""",
        [one[0] for one in secrets], [one[1] for one in secrets], [one[2] for one in secrets],
        [one[3] for one in secrets],
    )  # fmt: skip


async def resume_parked(tx: Transaction, business_id: UUID, endpoint_id: UUID) -> int:
    """Let deliveries that waited for a paused or disabled endpoint go on."""
    return await tx.execute(
        """update delivery set status = 'pending', next_at = now()
            where business_id = $1 and endpoint_id = $2 and status = 'parked'""",
        business_id, endpoint_id,
    )  # fmt: skip
