"""Request bodies: models of their own, apart from events and rows, that refuse what they do not know."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from libs.contracts.event import Instant

YEAR_MIN, YEAR_MAX = 1900, 2200


class Body(BaseModel):
    """A request body or a part of one. Unknown fields are refused, strings are trimmed of nothing."""

    model_config = ConfigDict(extra="forbid")


def _one_line(text: str) -> str:
    for letter in text:
        if letter < " " or letter == "\x7f":
            raise ValueError(f"must be one line without control characters, has U+{ord(letter):04X}")
    return unicodedata.normalize("NFC", text)


def _lines(text: str) -> str:
    for letter in text:
        if letter < " " and letter not in "\n\r\t":
            raise ValueError(f"must be without control characters but line breaks and tabs, has U+{ord(letter):04X}")
    return unicodedata.normalize("NFC", text)


def Line(length_max: int, length_min: int = 1) -> Any:  # noqa: N802 - reads as a type in annotations
    """Make the type of a one-line text: NFC, no control characters, at most `length_max` characters."""
    return Annotated[str, StringConstraints(min_length=length_min, max_length=length_max), AfterValidator(_one_line)]


def Text(length_max: int) -> Any:  # noqa: N802 - reads as a type in annotations
    """Make the type of a text of several lines: NFC, no control characters but line breaks and tabs."""
    return Annotated[str, StringConstraints(max_length=length_max), AfterValidator(_lines)]


def _bounded(value: datetime) -> datetime:
    if not YEAR_MIN <= value.year <= YEAR_MAX:
        raise ValueError(f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")
    return value


Moment = Annotated[Instant, AfterValidator(_bounded)]
"""An instant of a request: RFC 3339 with an offset, within the years that are taken."""
