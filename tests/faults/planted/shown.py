"""Bugs in what is shown and counted."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from tests.faults import planting
from tests.faults.planted import bug


@bug("wrong-link", "an activity stands on another record's timeline", "I4")
def _wrong_link() -> None:
    def links_of(old: Any) -> Any:
        def linking(activity: Any) -> Any:
            links = old(activity)
            return links if activity.activity_id.int % 3 else [(name, uuid.uuid5(id_, "x")) for name, id_ in links]

        return linking

    planting.replace("services.timeline_projector.domain.lines:links_of", links_of)


@bug("entry-stays", "an entry is not taken away when the activity moves", "I4", "I8")
def _entry_stays() -> None:
    def delete(_: Any) -> Any:
        async def nothing(tx: Any, gone: Any) -> None:
            return None

        return nothing

    planting.replace("services.timeline_projector.handlers:entries.delete_entries", delete)


@bug("badge-off", "a badge says one too many", "I4")
def _badge_off() -> None:
    planting.in_sql("own.lines + shared.lines as lines", "own.lines + shared.lines + 1 as lines")


def _remember_nothing() -> None:
    """Have every event that comes again reach the store, as after partitions were assigned anew."""
    planting.replace("libs.messaging.known:Known.has", lambda _: lambda *_: False)


@bug("older-wins", "a version that comes late replaces a newer one", "I4", "I5", during=("events-again",))
def _older_wins() -> None:
    _remember_nothing()
    planting.in_sql("fact.version < new.version", "fact.version <> new.version")
    planting.in_sql("head.version < new.version", "head.version <> new.version")


@bug("blind-counter", "reports count up without looking at what was counted", "I5")
def _blind_counter() -> None:
    def differences(old: Any) -> Any:
        return lambda facts, earlier: old(facts, dict.fromkeys(earlier))

    planting.replace("services.reporting.handlers:differences_of", differences)


@bug("bucket-not-moved", "what moves to another time stays in its old bucket, too", "I5")
def _bucket_not_moved() -> None:
    def differences(old: Any) -> Any:
        def differing(facts: Any, earlier: Any) -> Any:
            near = timedelta(minutes=15)
            moved = {key for key, was in earlier.items() if was is not None and abs(was.at - facts[key].at) > near}
            return old(facts, {key: None if key in moved else was for key, was in earlier.items()})

        return differing

    planting.replace("services.reporting.handlers:differences_of", differences)


@bug("replay-counts", "what is heard again is counted again", "I5", during=("events-again",))
def _replay_counts() -> None:
    _remember_nothing()

    def replace_facts(old: Any) -> Any:
        async def replacing(tx: Any, facts: Any) -> Any:
            earlier = await old(tx, facts)
            return {key: earlier.get(key) for key in facts}

        return replacing

    planting.replace("services.reporting.handlers:facts.replace_facts", replace_facts)


@bug("stale-read", "min_version is not waited for", "I12")
def _stale_read() -> None:
    def not_yet(_: Any) -> Any:
        async def at_once(*arguments: Any) -> None:
            return None

        return at_once

    planting.replace("services.timeline_projector.api.timelines:not_yet", not_yet)

    def handle(old: Any) -> Any:
        async def handling(self: Any, records: Any) -> None:
            await asyncio.sleep(1.5 if self._group == "timeline_projector" else 0)
            await old(self, records)

        return handling

    planting.replace("libs.messaging.handling:Handling.handle_all", handle)
