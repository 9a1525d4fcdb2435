"""The clock. Only entry points (routes, handlers, loops) read it; everything below gets instants as arguments."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)
