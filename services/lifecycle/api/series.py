"""Recurrences: what becomes of the other occurrences when one is changed or cancelled."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from libs.access.levels import Act
from libs.database import Transaction
from libs.errors import Conflict, Problem
from services.lifecycle import recording, recurring
from services.lifecycle.api.bodies import RecurrenceBody, Scope
from services.lifecycle.api.callers import Caller, refuse, require
from services.lifecycle.api.planning import time_of
from services.lifecycle.api.references import References
from services.lifecycle.domain import life, recurrence
from services.lifecycle.domain.held import PLAN, Decision, Held, Told
from services.lifecycle.domain.recurrence import BadRule, Segment, Series
from services.lifecycle.recording import Entry
from services.lifecycle.store import activities
from services.lifecycle.store import series as store

MADE_MAX = 500
"""Occurrences that one request changes or cancels, the newest."""


class Changed(NamedTuple):
    """What was changed of one occurrence. `ends`: the body says something of the recurrence, maybe that it ends."""

    decision: Decision
    content: dict[str, Any]
    rule: RecurrenceBody | None
    ends: bool


async def begin(tx: Transaction, caller: Caller, series: Series) -> None:
    """Begin a recurrence whose first occurrence was just recorded."""
    if series.mode == "one_open":
        over = recurrence.next_after(series, series.made_until) is None
        await store.save_series(tx, series, series.made_until, over=over)
        return
    decisions = await recurring.make_ahead(tx, series, caller.now)
    await recording.record(tx, [Entry(each, request_id=caller.request_id) for each in decisions])


def check_scope(references: References, held: Held, names: set[str], scope: Scope) -> None:
    """Note what is wrong with a change: of a recurrence, where there is none, or of one occurrence alone."""
    if held.activity.series_id is None and (scope != "this" or "recurrence" in names):
        message = "is set when an activity is scheduled; this one does not recur"
        references.problems.append(Problem("recurrence" if scope == "this" else "scope", "create_only", message))
    elif scope == "this" and "recurrence" in names:
        message = "changes with scope=following or scope=all"
        references.problems.append(Problem("recurrence", "scope", message))


async def refuse_passed(tx: Transaction, held: Held) -> None:
    """Refuse to restore an occurrence after which the next has been made. Raises Conflict."""
    activity = held.activity
    if activity.series_id is None or activity.cancelled_at is None:
        return
    series = await store.find_series(tx, activity.business_id, activity.series_id)
    if series is not None and series.mode == "one_open" and series.made_until != activity.occurs_on:
        newest = recurrence.id_of(series.id, series.made_until)
        message = f"the occurrence of {series.made_until} has been made since; there is one open at a time"
        raise Conflict(message, code="series_moved_on", link=f"/api/activities/scheduled-activity/{newest}")


async def end(tx: Transaction, references: References, held: Held, scope: Scope) -> list[Decision]:
    """End a recurrence with one of its occurrences, and decide to cancel those that follow, or all that are open."""
    series, day = await _lock(tx, references, held)
    ended = msgspec.structs.replace(series, ends=day)
    await store.save_series(tx, ended, series.made_until, over=True)
    others = await _open(tx, series, day, scope)
    await _require(tx, references, series, others, "delete")
    now = references.caller.now
    return [life.cancel(other, now, now) for _, other in others]


async def change(tx: Transaction, references: References, changed: Changed, scope: Scope) -> None:
    """Let a change of one occurrence, recorded before, hold for those that follow, or for all that are open."""
    held = changed.decision.held
    assert held is not None
    caller = references.caller
    series, day = await _lock(tx, references, held)
    others = await _open(tx, series, day, scope)
    await _require(tx, references, series, others, "edit")
    if changed.ends and changed.rule is None:
        later = msgspec.structs.replace(series, ends=day + timedelta(days=1))
    else:
        later = recurrence.split(series, day, _segment(series, day, changed))
    wanted = dict(recurrence.occurrences(later, day, later.made_until))
    me = references.known.person_of(caller.principal.user_id)
    decisions = []
    for other_day, other in others:
        if other_day > day and other_day not in wanted:
            decisions.append(life.cancel(other, caller.now, caller.now))
            continue
        content = {name: value for name, value in changed.content.items() if name not in ("due_at", "due_date")}
        if "due_at" in changed.content and other_day in wanted:
            due_at, due_date = recurrence.due_of(wanted[other_day], later.zone, other_day)
            content |= {"due_at": due_at, "due_date": due_date}
        decisions.append(life.change(other, Told(PLAN, caller.now, caller.now, me, content)))
    over = recurrence.next_after(later, later.made_until) is None
    await store.save_series(tx, later, later.made_until, over=over)
    await _record(tx, caller, decisions, references)
    if later.mode == "fixed":
        await _fill(tx, caller, later, wanted, references)


async def _fill(
    tx: Transaction, caller: Caller, series: Series, wanted: dict[date, Segment], references: References
) -> None:
    """Make the occurrences of a changed rule that are not there yet, then those up to the horizon."""
    ids = [(series.business_id, recurrence.id_of(series.id, day)) for day in wanted]
    there = await activities.lock_activities(tx, ids) if ids else {}
    missing = [
        (day, segment)
        for (day, segment), key in zip(wanted.items(), ids, strict=True)
        if key not in there
    ]  # fmt: skip
    decisions = await recurring.make(tx, series, missing, caller.now) if missing else []
    await _record(tx, caller, [*decisions, *await recurring.make_ahead(tx, series, caller.now)], references)


async def _record(tx: Transaction, caller: Caller, decisions: Sequence[Decision], references: References) -> None:
    me = references.known.person_of(caller.principal.user_id)
    applied = [Entry(each, me, request_id=caller.request_id) for each in decisions if each.outcome == "applied"]
    await recording.record(tx, applied)


async def _lock(tx: Transaction, references: References, held: Held) -> tuple[Series, date]:
    """Lock the recurrence of an occurrence. Raises Rejected where it is none."""
    activity = held.activity
    if activity.series_id is None or activity.occurs_on is None:
        refuse([Problem("scope", "not_recurring", "is for occurrences of a recurrence; this one does not recur")])
    assert activity.series_id is not None
    assert activity.occurs_on is not None
    found = await store.lock_series(tx, [(activity.business_id, activity.series_id)])
    return found[activity.business_id, activity.series_id], activity.occurs_on


async def _open(tx: Transaction, series: Series, day: date, scope: Scope) -> list[tuple[date, Held]]:
    """Lock the other occurrences that are open: those after a day, or all."""
    begin = date.min if scope == "all" else day
    days = [each for each, _ in recurrence.occurrences(series, begin, series.made_until) if each != day][-MADE_MAX:]
    keys: dict[tuple[UUID, UUID], date] = {
        (series.business_id, recurrence.id_of(series.id, each)): each for each in days
    }
    held = await activities.lock_activities(tx, keys) if keys else {}
    return [(keys[key], each) for key, each in held.items() if _is_open(each)]


async def _require(
    tx: Transaction, references: References, series: Series, others: Sequence[tuple[date, Held]], act: Act
) -> None:
    """Refuse to do with other occurrences, and with those to come, what the caller may not. Raises Forbidden."""
    rights = references.caller.rights(references.known)
    if rights.standing is None:
        return
    newest = series.segments[-1]
    place = (series.business_id, newest.activity_id, newest.version)
    example = (await store.list_examples(tx, [place]))[place]
    allowed = all(rights.may(act, each) for each in (example, *(other.activity for _, other in others)))
    require(allowed, act, f"every occurrence of series {series.id} that this is about; scope=this is about one")


def _is_open(held: Held) -> bool:
    activity = held.activity
    return activity.logged_at is None and activity.cancelled_at is None and activity.deleted_at is None


def _segment(series: Series, day: date, changed: Changed) -> Segment:
    """Write what holds from a day on: the changed occurrence, its time of day, its rule or what is left of the old."""
    held = changed.decision.held
    assert held is not None
    before = recurrence.segment_of(series, day)
    first, at = day, before.at
    if "due_at" in changed.content and held.activity.due_at is not None:
        first, at = time_of(held.activity, series.zone)
    rule = changed.rule.rule if changed.rule is not None else recurrence.rest_of(before, series.zone, day)
    try:
        kept = recurrence.check(rule, first, at, series.zone)
    except BadRule as error:
        refuse([Problem("recurrence" if changed.rule is not None else "due_datetime", "rule_invalid", str(error))])
        raise AssertionError from error
    return Segment(day, first, kept, held.activity.activity_id, held.activity.version, at)
