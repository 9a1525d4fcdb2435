"""All SQL of the timeline projector."""

from libs.database import Transaction


async def empty(tx: Transaction) -> None:
    """Forget everything heard, so that it can be heard again from the beginning."""
    await tx.execute("truncate activity_head, entry, interaction, message, record, activity_object")
