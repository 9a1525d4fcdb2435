"""What a checker of values says when a value is not taken."""

from collections.abc import Callable
from typing import Any

Check = Callable[[Any], Any]
"""Takes a value as it was sent (never null), gives it as it is stored. Raises Wrong. Stored values stay as they are."""

SHOWN_MAX = 100
SHOWN_MAX_BITS = 400


class Wrong(ValueError):
    """A value that a field does not take: a code word, and a sentence that names the value and what is allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def shown(value: Any) -> str:
    """Quote a value in a message, shortened."""
    if type(value) is int and value.bit_length() > SHOWN_MAX_BITS:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def must_be_text(value: Any) -> str:
    """Pass on a text. Raises Wrong."""
    if type(value) is not str:
        raise Wrong("not_text", f"is {shown(value)}; give text")
    return value
