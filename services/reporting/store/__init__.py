"""All SQL of reporting."""

from libs.database import Transaction


async def empty(tx: Transaction) -> None:
    """Forget everything heard, so that it can be heard again from the beginning."""
    await tx.execute("truncate fact, interaction_fact, rollup, record, activity_object")
