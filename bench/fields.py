"""Step `fields`: checking the values of ten fields with two rules, as every schedule, log and report does."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bench.figures import Figure
from libs.contracts.activity_object import ActivityObject, FieldOption, FieldRule, ObjectField, RuleCondition
from services.lifecycle.domain.fields import Compiled, compile_object

ROUNDS, CHECKS = 20, 5_000
TARGET_US = 50.0

OPTIONS = [
    FieldOption(id=str(UUID(int=100 + n)), name=name, code=name.lower()) for n, name in enumerate(("Won", "Lost"))
]
VALUES: list[tuple[str, Any]] = [
    ("text", "Renewal agreed"), ("longtext", "Terms as last year.\nCalls back on Monday."), ("dropdown", "won"),
    ("checkboxes", ["won", "lost"]), ("money", "1250.00"), ("date", "2026-11-30"),
    ("datetime", "2026-11-30T09:30:00+01:00"), ("rating", 4), ("email", "ada@example.com"),
    ("wysiwyg", "<p>Sends the <b>offer</b> today</p>"),
]  # fmt: skip


def compiled() -> Compiled:
    """Make an object with a field of each of ten kinds, two of them required and two decided by rules."""
    ids = {kind: str(UUID(int=place)) for place, (kind, _) in enumerate(VALUES, 1)}
    fields = [
        ObjectField(
            id=ids[kind], name=kind, display_name=kind, field_type=kind, is_required=kind in ("text", "dropdown"),
            options=OPTIONS if kind in ("dropdown", "checkboxes") else [], order=place,
        )
        for place, kind in enumerate(ids)
    ]  # fmt: skip
    asked = (("dropdown", "equals", "won", "money"), ("rating", "at_least", 2, "wysiwyg"))
    rules = [
        FieldRule(
            conditions=[RuleCondition(field_id=ids[of], operator=operator, value=value)], target_field_ids=[ids[target]]
        )
        for of, operator, value, target in asked
    ]
    now = datetime.now(UTC)
    return compile_object(
        ActivityObject(
            business_id=UUID(int=1), id=UUID(int=2), version=1, name="Call", api_name="call", fields=fields,
            rules=rules, created_at=now,
        )
    )  # fmt: skip


async def measure(advance: Callable[[], None]) -> list[Figure]:
    """Check again and again; the figure is of the fastest round, which nobody else disturbed."""
    ready, rounds = compiled(), []
    assert ready.check(VALUES, logging=True).problems == []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CHECKS):
            ready.check(VALUES, logging=True)
        rounds.append((time.process_time() - begin) / CHECKS * 1e6)
        advance()
    return [Figure("fields", "check of ten fields with two rules, CPU", min(rounds), "µs", TARGET_US, most=True)]
