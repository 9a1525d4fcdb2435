"""Bugs in trouble, and in the walls between businesses."""

import logging
from contextvars import ContextVar
from typing import Any

from tests.faults import planting
from tests.faults.planted import bug


@bug("poison-swallowed", "poison is dropped without a trace", "I8", during=("poison",))
def _poison_swallowed() -> None:
    def set_aside(_: Any) -> Any:
        async def nothing(self: Any, tx: Any, poison: Any) -> None:
            return None

        return nothing

    planting.replace("libs.messaging.handling:Handling._set_aside", set_aside)


@bug("canary-in-log", "a summary is written to the log", "I9")
def _canary_in_log() -> None:
    def accept(old: Any) -> Any:
        def accepting(arrival: Any, value: Any, *more: Any, **named: Any) -> Any:
            logging.getLogger("ingest").warning("accepting %s", value.get("summary"))
            return old(arrival, value, *more, **named)

        return accepting

    planting.replace("services.ingest.domain:accept", accept)


@bug("business-ignored", "an activity of another business is found by its id, and no wall stands behind", "I9")
def _business_ignored() -> None:
    opened: ContextVar[Any] = ContextVar("opened")

    def transaction(old: Any) -> Any:
        def remembered(self: Any, principal: Any) -> Any:
            opened.set(self)
            return old(self, principal)

        return remembered

    def find(old: Any) -> Any:
        async def finding(tx: Any, *names: Any) -> Any:
            if (own := await old(tx, *names)) is not None:
                return own
            async with opened.get().work() as wide:
                return await old(wide, *names)

        return finding

    planting.replace("libs.database.pool:Database.transaction", transaction)
    planting.replace("services.lifecycle.api.logged:activities.find_activity", find)
    planting.in_sql(
        "where a.business_id = $1 and a.activity_id = $2", "where $1::uuid is not null and a.activity_id = $2"
    )
