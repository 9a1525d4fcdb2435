"""Interactions, their messages, and the records they were with."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from libs.contracts import activity, interaction
from libs.database import Transaction
from services.ingest.closing import Conversation, Interaction, LinkShape, Message, Transfer
from services.ingest.domain import HASH_FORMAT

Key = tuple[UUID, UUID]

_encode = msgspec.json.Encoder().encode
_links = msgspec.json.Decoder(list[LinkShape])  # type: ignore[valid-type]
_transfers = msgspec.json.Decoder(list[Transfer])  # type: ignore[valid-type]

_SELECT = """
        select business_id, interaction_id, version, source, source_ref, channel, queue, agent_id, agent, direction,
               address, opened_at, answered_at, closed_at, recorded_at, erased_at, disposition, links, transfers,
               first_message, messages_count from interaction"""


async def insert_interaction(tx: Transaction, conversation: Conversation) -> bool:
    """Insert an interaction with its messages and records; tell whether it is new. Three statements."""
    head, messages = conversation.head, conversation.messages
    inserted = await tx.execute(
        """
        insert into interaction (business_id, interaction_id, version, source, source_ref, hash, hash_format, channel,
            queue, agent_id, agent, direction, address, opened_at, answered_at, closed_at, recorded_at, disposition,
            links, transfers, first_message, messages_count)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
        on conflict (business_id, interaction_id) do nothing
        """,
        head.business_id, head.interaction_id, head.version, head.source, head.source_ref, conversation.hash,
        HASH_FORMAT, head.channel, head.queue, head.agent_id, head.agent, head.direction, head.address,
        head.opened_at, head.answered_at, head.closed_at, head.recorded_at, head.disposition,
        _encode(head.links), _encode(head.transfers), head.first_message, head.messages_count,
    )  # fmt: skip
    if not inserted:
        return False
    await tx.execute(
        """
        insert into message (business_id, interaction_id, position, id, direction, author, text, media_url, sent_at,
            delivered_at, read_at, template)
        select $1, $2, place - 1, id, direction, author, text, media_url, sent_at, delivered_at, read_at, template
          from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
                      $9::timestamptz[], $10::timestamptz[], $11::text[]) with ordinality
               as new (id, direction, author, text, media_url, sent_at, delivered_at, read_at, template, place)
        """,
        head.business_id, head.interaction_id, [each.id for each in messages], [each.direction for each in messages],
        [each.author for each in messages], [each.text for each in messages], [each.media_url for each in messages],
        [each.sent_at for each in messages], [each.delivered_at for each in messages],
        [each.read_at for each in messages], [each.template for each in messages],
    )  # fmt: skip
    await tx.execute(
        """
        insert into interaction_record (business_id, interaction_id, record_id)
        select distinct $1::uuid, $2::uuid, record_id from unnest($3::uuid[]) as record_id
        """,
        head.business_id, head.interaction_id, [link.record_id for link in head.links],
    )  # fmt: skip
    return True


async def get_hash(tx: Transaction, business_id: UUID, interaction_id: UUID) -> bytes:
    """Return the hash of the interaction that is there."""
    found: bytes = await tx.value(
        "select hash from interaction where business_id = $1 and interaction_id = $2", business_id, interaction_id
    )
    return found


async def lock_page(tx: Transaction, after: Key, limit: int) -> list[interaction.Interaction]:
    """Lock and list the next interactions in order of (business, id), so that no newer version leaves before them."""
    rows = await tx.fetch(
        f"""
        {_SELECT} where (business_id, interaction_id) > ($1, $2)
         order by business_id, interaction_id limit $3 for share
        """,
        *after, limit,
    )  # fmt: skip
    return [_head_of(dict(row)) for row in rows]


async def list_interactions(
    tx: Transaction, business_id: UUID, interaction_ids: Sequence[UUID]
) -> list[interaction.Interaction]:
    """List interactions of a business in order of their ids."""
    rows = await tx.fetch(
        f"""
        select found.* from unnest($2::uuid[]) as wanted (id)
        cross join lateral ({_SELECT} where business_id = $1 and interaction_id = wanted.id limit 1) as found
        order by found.interaction_id
        """,  # noqa: S608 - fixed texts
        business_id,
        list(interaction_ids),
    )
    return [_head_of(dict(row)) for row in rows]


async def list_messages(
    tx: Transaction, heads: Sequence[interaction.Interaction]
) -> dict[Key, list[interaction.Message]]:
    """List the messages of interactions, oldest first, by (business, interaction)."""
    found: dict[Key, list[interaction.Message]] = {(head.business_id, head.interaction_id): [] for head in heads}
    rows = await tx.fetch(
        """
        select business_id, interaction_id, id, direction, author, text, media_url, sent_at, delivered_at, read_at,
               template
          from message join unnest($1::uuid[], $2::uuid[]) as wanted (business_id, interaction_id)
               using (business_id, interaction_id)
         order by business_id, interaction_id, position
        """,
        [head.business_id for head in heads],
        [head.interaction_id for head in heads],
    )
    for row in rows:
        message = dict(row)
        found[message.pop("business_id"), message.pop("interaction_id")].append(Message(**message))
    return found


def _head_of(row: dict[str, Any]) -> interaction.Interaction:
    links: list[activity.Link] = _links.decode(row.pop("links"))
    transfers: list[interaction.Transfer] = _transfers.decode(row.pop("transfers"))
    return Interaction(**row, links=links, transfers=transfers)
