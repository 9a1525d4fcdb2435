"""What lifecycle does with the events it hears."""

from collections.abc import Sequence

from libs.contracts.directory import Business, Record
from libs.contracts.report import ReportReceived
from libs.database import Transaction
from libs.service.clock import now
from services.lifecycle import admission, looking
from services.lifecycle.store import records


async def admit_activities(tx: Transaction, events: Sequence[ReportReceived]) -> None:
    """Admit reports: decide, save the versions they make, answer each."""
    await admission.admit(tx, events, now())


async def begin_businesses(tx: Transaction, events: Sequence[Business]) -> None:
    """Give new businesses their preset activity objects."""
    await looking.find_types(tx, [event.id for event in events if event.deleted_at is None], now())


async def copy_records(tx: Transaction, events: Sequence[Record]) -> None:
    """Keep a copy of what records there are."""
    await records.upsert_records(tx, events)
