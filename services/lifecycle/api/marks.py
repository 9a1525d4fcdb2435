"""Marks on references in answers: what records are called, and which were deleted since or merged into another one."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from libs.contracts import activity as contract
from libs.contracts.activity import linked_of
from libs.database import Transaction
from services.lifecycle.api.callers import Caller
from services.lifecycle.api.references import roles_of
from services.lifecycle.store import records

Marks = dict[UUID, dict[str, Any]]


async def marks_of(tx: Transaction, caller: Caller, activities: Iterable[contract.Activity]) -> Marks:
    """Tell what is to be said of the records that activities are about."""
    linked = {record_id for activity in activities for record_id in linked_of(activity)}
    return await records.list_marks(tx, caller.business_id, linked, roles_of(caller)) if linked else {}


def marked(shown: dict[str, Any], marks: Marks) -> dict[str, Any]:
    """Mark the references of an answer."""
    for entity in shown.get("associated_entities", ()):
        entity.update(marks.get(entity["entity_id"], {}))
    return shown
