"""Comparing finished conversations, which ingest owns, with timelines and reports."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from cli.check import pages
from cli.check.pages import FIRST, LAST, PAGE_ROWS
from libs.contracts.interaction import Interaction, moment_of
from libs.database import Database
from services.reporting.domain.facts import talk_of as fact_of
from services.timeline_projector.domain.conversations import Known, Member, Talk, place, talk_of

_MESSAGES = """
    select interaction_id, md5(string_agg((position, id, direction, author, text, media_url, sent_at, delivered_at,
                                           read_at, template)::text, '' order by position))
    from message where business_id = $1 and interaction_id > $2 and interaction_id <= $3 group by 1
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What services hold of some conversations, each by interaction; `members` and `entries` are those of timelines."""

    truth: Mapping[UUID, Interaction]
    shown: Mapping[UUID, Any]
    told: Mapping[UUID, Any]
    members: list[Member]
    entries: list[Any]


async def compare_conversations(stores: Mapping[str, Database], business_id: UUID, full: bool) -> AsyncIterator[str]:
    """Go through all conversations of a business, and yield each difference, as a sentence."""
    ingest, timeline, reporting = stores["ingest"], stores["timeline_projector"], stores["reporting"]
    after = FIRST
    while after != LAST:
        rows = await pages.keyed(
            ingest,
            """
            select interaction_id, interaction.* from interaction where business_id = $1 and interaction_id > $2
            order by interaction_id limit $3
            """,
            (business_id, after, PAGE_ROWS),
        )
        span = (business_id, after, max(rows) if len(rows) == PAGE_ROWS else LAST)
        within = "where business_id = $1 and interaction_id > $2 and interaction_id <= $3"
        held = Held(
            {key: _interaction(row) for key, row in rows.items()},
            await pages.keyed(timeline, f"select interaction_id, interaction.* from interaction {within}", span),  # noqa: S608
            await pages.keyed(
                reporting,
                f"select interaction_id, interaction_fact.* from interaction_fact {within}",  # noqa: S608
                span,
            ),
            [Member(*row) for row in await pages.rows_of(timeline, _MEMBERS, *span)],
            await pages.rows_of(timeline, _ENTRIES, *span),
        )
        found = differences_of(held, full)
        if full:
            found += compare_messages(*[await pages.keyed(each, _MESSAGES, span) for each in (ingest, timeline)])
        for difference in found:
            yield difference
        after = span[2]


_MEMBERS = """
    select business_id, activity_id, interaction_id, version > 0 and deleted_at is null as lives, at, upcoming, links,
           placed
    from activity_head where business_id = $1 and interaction_id > $2 and interaction_id <= $3
"""
_ENTRIES = """
    select entry.object, entry.record_id, entry.at, entry.activity_id from entry
    join activity_head as head using (business_id, activity_id)
    where business_id = $1 and head.interaction_id > $2 and head.interaction_id <= $3
"""


def differences_of(held: Held, full: bool) -> list[str]:
    """Say what differs between the truth about conversations, timelines and reports. `full`: contents too."""
    found = [*_versions(held), *_standing(held), *_counted(held)]
    return [*found, *_contents(held)] if full else found


def compare_messages(said: Mapping[UUID, Any], shown: Mapping[UUID, Any]) -> list[str]:
    """Say in which conversations the messages differ, by a digest of each."""
    return [
        f"timeline: interaction {interaction_id}: its messages differ"
        for interaction_id in {**said, **shown}
        if (said.get(interaction_id) or (None, None))[1] != (shown.get(interaction_id) or (None, None))[1]
    ]


def _versions(held: Held) -> Iterable[str]:
    """Yield which conversations are missing, stray or at another version."""
    for where, rows in (("timeline", held.shown), ("reports", held.told)):
        yield from (f"{where}: interaction {stray} is not in the truth" for stray in rows if stray not in held.truth)
        for interaction_id, truth in held.truth.items():
            row = rows.get(interaction_id)
            if row is None:
                yield f"{where}: interaction {interaction_id} is missing"
            elif row["version"] != truth.version:
                at = f"is at version {row['version']}, the truth at {truth.version}"
                yield f"{where}: interaction {interaction_id} {at}"


def _standing(held: Held) -> Iterable[str]:
    """Yield where lines about conversations stand that should not, and where they are missing."""
    known = {}
    for interaction_id, truth in held.truth.items():
        talk = talk_of(truth)
        known[truth.business_id, interaction_id] = Known(talk.activity_id, moment_of(truth), talk.links)
    wanted = Counter(
        (name, UUID(record_id), placed.at, key[1])
        for key, placed in place(held.members, known, {}).shown.items()
        for name, record_id in orjson.loads(placed.links)
    )
    entries = Counter(tuple(row) for row in held.entries)
    for name, record_id, at, line in (wanted - entries) | (entries - wanted):
        times = f"{entries[name, record_id, at, line]} times instead of {wanted[name, record_id, at, line]}"
        yield f"timeline of {name} {record_id}: line {line} of a conversation stands at {at.isoformat()} {times}"
    lines = {member.interaction_id for member in held.members}
    yield from (f"timeline: interaction {each} has no line" for each in held.truth if each not in lines)


def _counted(held: Held) -> Iterable[str]:
    """Yield which conversations are counted beside their activity, or not at all."""
    hosted = {member.interaction_id for member in held.members if member.lives}
    for interaction_id, row in held.told.items():
        if row["counted"] is (interaction_id in hosted):
            how = "is counted beside its activity" if row["counted"] else "is not counted"
            yield f"reports: interaction {interaction_id} {how}"


def _contents(held: Held) -> Iterable[str]:
    for interaction_id, truth in held.truth.items():
        shown, talk = held.shown.get(interaction_id), talk_of(truth)
        if shown is not None and shown["version"] == truth.version:
            differing = [
                name for name in Talk._fields if _plain(name, shown[name]) != _plain(name, getattr(talk, name))
            ]
            yield from (f"timeline: interaction {interaction_id}: {name} differs" for name in differing)
        told, fact = held.told.get(interaction_id), fact_of(truth)
        if told is not None and told["version"] == truth.version:
            differing = [name for name in fact._fields if name != "counted" and told[name] != getattr(fact, name)]
            yield from (f"reports: interaction {interaction_id}: {name} differs" for name in differing)


def _interaction(row: Any) -> Interaction:
    documents = {name: orjson.loads(row[name]) for name in ("links", "transfers")}
    return Interaction.model_validate(dict(row) | documents)


def _plain(name: str, value: Any) -> Any:
    return orjson.loads(value) if name in ("links", "transfers") else value
