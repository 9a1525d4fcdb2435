"""Looks again at activities whose event could not be told at once: somebody else had one like them in hand."""

from libs.database import Database, Transaction
from libs.service.clock import now
from services.lifecycle import recognition, recording
from services.lifecycle.recording import Entry
from services.lifecycle.store import recognition as store
from services.lifecycle.store.activities import Key

SLICE = 100


async def look_again(database: Database) -> None:
    """Look again at what was put off, each in a transaction of its own; what cannot be told yet stays put off."""
    async with database.work() as tx:
        keys = await store.list_put_off(tx, SLICE)
    for key in keys:
        async with database.work() as tx:
            if await store.take_put_off(tx, key):
                await _look(tx, key)


async def _look(tx: Transaction, key: Key) -> None:
    at = now()
    fresh = await store.lock_free(tx, key[0], [key[1]])
    if not fresh:
        await store.put_off(tx, key[0], [key[1]])
        return
    changed = await recognition.look(tx, key[0], fresh, at)
    if changed is None:
        await store.put_off(tx, key[0], [key[1]])
        return
    decisions = recognition.link(list(changed.values()), at)
    held = [each.held for each in decisions if each.held is not None]
    answers = await recognition.answer_again(tx, key[0], held, at)
    await recording.record(tx, [Entry(each, recognise=False) for each in decisions], answers)
