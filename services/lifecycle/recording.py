"""Decisions become versions: rows, history and events, in one transaction. Routes and handlers write by this alone."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts import activity as contract
from libs.contracts.decoding import struct_of
from libs.contracts.ids import event_id_of, key_of
from libs.contracts.record import RecordRequested as RequestShape
from libs.database import Transaction
from libs.messaging.outbox import Outgoing, append
from libs.turns import give_way
from services.lifecycle import recognition, recurring
from services.lifecycle.domain.chain import SALT_BYTES, Skeleton, content_hash_of, hash_of
from services.lifecycle.domain.held import ActivityEvent, Change, Decision, Held
from services.lifecycle.domain.privacy import restricted_of
from services.lifecycle.store import accounts, activities, living, privacy
from services.lifecycle.store.activities import Key, Version

RecordRequested = struct_of(RequestShape)
_encode = msgspec.json.Encoder().encode


class Entry(NamedTuple):
    """An applied decision, by whom, and by which request or report.

    `recognise`: whether the business wants reports of one event recognised (None: only what is linked is looked at).
    """

    decision: Decision
    by: contract.Person | None = None
    request_id: str | None = None
    receipt_id: UUID | None = None
    recognise: bool | None = None


async def record(tx: Transaction, entries: Sequence[Entry], answers: Iterable[Outgoing] = ()) -> None:
    """Save the new versions and put their events into the outbox, those of one activity in the order given.

    `answers` leave with them: each statement saved is a tenth of what a single report costs. They are written last,
    when it is known which events the activities tell of.
    """
    entries = [*entries, *await _following(tx, entries)]
    others, told = await recognition.recognise(tx, [(entry.decision, entry.recognise) for entry in entries])
    entries += [Entry(each, recognise=False) for each in others]
    rounds: list[list[Version]] = []
    chains: dict[Key, tuple[int, bytes]] = {}
    events: list[Outgoing] = []
    additions: list[tuple[Key, contract.Append, bytes]] = []
    salts = os.urandom(SALT_BYTES * len(entries))
    for number, entry in enumerate(entries):
        await give_way(number)
        held = entry.decision.held
        assert held is not None
        key = (held.activity.business_id, held.activity.activity_id)
        place, previous = chains.get(key, (0, held.hash))
        version, event = _written(entry, previous, salts[SALT_BYTES * number : SALT_BYTES * (number + 1)])
        chains[key] = (place + 1, version.hash)
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(version)
        events.append(event)
        if entry.decision.linked:
            events += _requests(entry)
        addition = entry.decision.addition
        if addition is not None:
            additions.append((key, addition, _encode(addition)))
    for versions in rounds:
        await activities.save_activities(tx, versions)
    if additions:
        await activities.insert_appends(tx, additions)
    await _save_beside(tx, [each.held for versions in rounds for each in versions])
    asked = [each for entry in entries if entry.decision.linked for each in _asked(entry)]
    if asked:
        await living.save_asked(tx, asked)
    await append(tx, [*events, *answers, *told])


async def _save_beside(tx: Transaction, saved: Sequence[Held]) -> None:
    """Keep what lists ask for besides: the accounts that activities are linked to, and who may see them."""
    placed = [held.activity for held in saved if held.activity.links or held.activity.same]
    linked = [row for activity in placed for row in accounts.linked_of(activity)]
    if linked:
        await accounts.save_linked(tx, linked)
    restricted = [row for held in saved if (row := restricted_of(held)) is not None]
    if restricted:
        await privacy.save_restricted(tx, restricted)


def _requests(entry: Entry) -> list[Outgoing]:
    """Ask for the values that live on records; the same version of an activity asks only once, by derived ids."""
    assert entry.decision.held is not None
    activity = entry.decision.held.activity
    asked = []
    for (name, record_id), fields in entry.decision.linked.items():
        request_id = _request_id(activity, record_id)
        event = RecordRequested(
            request_id=request_id, business_id=activity.business_id, object=name, record_id=record_id, fields=fields,
            by=entry.by, activity_id=activity.activity_id, version=activity.version, requested_at=activity.recorded_at,
        )  # fmt: skip
        key = key_of(activity.business_id, record_id)
        asked.append(Outgoing(("record.requested",), key, _encode(event), id=request_id))
    return asked


def _asked(entry: Entry) -> Iterator[living.Asked]:
    """Name the values that records are asked to take; they are shown from now on."""
    for (_, record_id), fields in entry.decision.linked.items():
        assert entry.decision.held is not None
        activity = entry.decision.held.activity
        request_id = _request_id(activity, record_id)
        for name, value in fields.items():
            yield living.Asked(activity.business_id, record_id, name, request_id, _encode(value))


def _request_id(activity: contract.Activity, record_id: UUID) -> UUID:
    return event_id_of(activity.activity_id, f"record.requested:{record_id}", activity.version)


async def _following(tx: Transaction, entries: Sequence[Entry]) -> list[Entry]:
    """Let the next occurrence of a recurrence follow one that ends here."""
    ended = [
        entry.decision.held.activity
        for entry in entries
        if entry.decision.held is not None
        and entry.decision.held.activity.series_id is not None
        and entry.decision.types[-1] in recurring.ENDINGS
    ]
    if not ended:
        return []
    return [Entry(decision) for decision in await recurring.follow(tx, ended)]


def _written(entry: Entry, previous: bytes, salt: bytes) -> tuple[Version, Outgoing]:
    decision = entry.decision
    held = decision.held
    assert held is not None
    activity, kind = held.activity, decision.types[-1]
    change = Change(type=kind, by=entry.by, why=decision.why, request_id=entry.request_id, receipt_id=entry.receipt_id)
    value = _encode(ActivityEvent(activity=activity, change=change))
    key = key_of(activity.business_id, activity.activity_id)
    by = entry.by.member_id if entry.by is not None else None
    skeleton = Skeleton(activity.business_id, activity.activity_id, activity.version, kind, activity.recorded_at, by)
    version = Version(held, skeleton, value, salt, hash_of(previous, skeleton, content_hash_of(salt, value)))
    return version, Outgoing(decision.types, key, value, activity.version)
