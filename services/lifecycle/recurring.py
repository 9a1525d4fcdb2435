"""Occurrences of recurrences are made: the next when one ends, or ahead up to a horizon."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from libs.contracts import activity as contract
from libs.database import Transaction
from services.lifecycle.domain import life, recurrence
from services.lifecycle.domain.held import PLAN, Decision, Subject, Told
from services.lifecycle.domain.recurrence import HORIZON_DAYS, Segment, Series
from services.lifecycle.store import series as store

ENDINGS = ("activity.completed", "activity.cancelled", "activity.deleted")
COPIED = (
    "type", "type_id", "type_name", "subject", "summary", "notes", "direction", "location", "duration_min", "assignee",
    "links", "fields", "metadata", "mentions", "notify_mentioned", "notifications", "privacy",
)  # fmt: skip


async def follow(tx: Transaction, ended: Sequence[contract.Activity]) -> list[Decision]:
    """Make the occurrences that follow those that ended; where a later one was made already, nothing follows."""
    found = await store.lock_series(tx, {(each.business_id, each.series_id) for each in ended if each.series_id})
    decisions = []
    for each in ended:
        series = found.get((each.business_id, each.series_id)) if each.series_id else None
        if series is None or series.mode == "fixed" or series.made_until != each.occurs_on:
            continue
        following = recurrence.next_after(series, series.made_until)
        if following is None:
            await store.save_series(tx, series, series.made_until, over=True)
            continue
        decisions += await make(tx, series, [following], each.recorded_at)
        moved = msgspec.structs.replace(series, made_until=following[0])
        found[series.business_id, series.id] = moved
        await store.save_series(tx, moved, following[0], over=False)
    return decisions


async def make_ahead(tx: Transaction, series: Series, now: datetime) -> list[Decision]:
    """Make the occurrences of a `fixed` recurrence up to the horizon; the caller holds its lock."""
    horizon = max(now.date() + timedelta(days=HORIZON_DAYS), series.made_until)
    days = list(recurrence.occurrences(series, series.made_until, horizon))
    decisions = await make(tx, series, days, now) if days else []
    made = msgspec.structs.replace(series, made_until=days[-1][0] if days else series.made_until)
    await store.save_series(tx, made, horizon, over=recurrence.next_after(made, made.made_until) is None)
    return decisions


async def make(tx: Transaction, series: Series, days: Sequence[tuple[date, Segment]], now: datetime) -> list[Decision]:
    """Decide to plan occurrences: copies of what their segment is made like, each due on its day."""
    wanted = {(series.business_id, segment.activity_id, segment.version) for _, segment in days}
    examples = await store.list_examples(tx, list(wanted))
    decisions = []
    for day, segment in days:
        example = examples[series.business_id, segment.activity_id, segment.version]
        due_at, due_date = recurrence.due_of(segment, series.zone, day)
        content: dict[str, Any] = {name: getattr(example, name) for name in COPIED}
        content |= {"due_at": due_at, "due_date": due_date}
        subject = Subject(
            series.business_id, recurrence.id_of(series.id, day), source_kind="workflow", series_id=series.id,
            occurs_on=day,
        )  # fmt: skip
        told = Told(PLAN, now, now, example.created_by, content)
        decisions.append(life.plan(None, subject, told)._replace(why=f"an occurrence of the series {series.id}"))
    return decisions
