"""How a bug is planted: a named function of the product, or a statement's text, is replaced before it starts.

Each replacement fails loudly when its place has moved: a bug that is not planted would be one that nothing can catch.
"""

import functools
import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from libs.database.transaction import Transaction

Make = Callable[[Any], Any]


def replace(place: str, make: Make) -> None:
    """Put `make(old)` in the place of a function: `package.module:name` or `package.module:Class.name`."""
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for each in outer:
        holder = getattr(holder, each)
    setattr(holder, name, make(getattr(holder, name)))


def in_sql(old: str, new: str) -> None:
    """Replace a piece of text in every statement that holds it."""
    for name in ("execute", "fetch", "find", "value"):
        replace(f"libs.database.transaction:Transaction.{name}", functools.partial(_rewriting, old, new))


def _rewriting(old: str, new: str, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def rewritten(tx: Transaction, sql: str, *arguments: Any) -> Any:
        return await run(tx, sql.replace(old, new), *arguments)

    return rewritten


def every(count: int) -> Callable[[], bool]:
    """Say yes each n-th time."""
    reached = 0

    def now() -> bool:
        nonlocal reached
        reached += 1
        return reached % count == 0

    return now
