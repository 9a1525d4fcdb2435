"""Request bodies: models of their own, apart from events and rows, that refuse what they do not know."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from libs.contracts.event import Instant

YEAR_MIN, YEAR_MAX = 1900, 2200
_NOT_IN_LINE = re.compile("[\x00-\x1f\x7f]")
_NOT_IN_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Body(BaseModel):
    """A request body or a part of one. Unknown fields are refused, strings are trimmed of nothing."""

    model_config = ConfigDict(extra="forbid")


def _one_line(text: str) -> str:
    if wrong := _NOT_IN_LINE.search(text):
        raise ValueError(f"must be one line without control characters, has U+{ord(wrong[0]):04X}")
    return unicodedata.normalize("NFC", text)


def _lines(text: str) -> str:
    if wrong := _NOT_IN_LINES.search(text):
        raise ValueError(f"must be without control characters but line breaks and tabs, has U+{ord(wrong[0]):04X}")
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, as `Annotated[str, Line(200)]`: NFC, no control characters, a length in characters."""

    length_max: int
    length_min: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic how to check it."""
        text = core_schema.str_schema(min_length=self.length_min, max_length=self.length_max)
        return core_schema.no_info_after_validator_function(_one_line, text)


@dataclass(frozen=True, slots=True)
class Text:
    """Text of several lines, as `Annotated[str, Text(10_000)]`: NFC, no control characters but line breaks and tabs."""

    length_max: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic how to check it."""
        return core_schema.no_info_after_validator_function(_lines, core_schema.str_schema(max_length=self.length_max))


def _bounded(value: datetime) -> datetime:
    if not YEAR_MIN <= value.year <= YEAR_MAX:
        raise ValueError(f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")
    return value


Moment = Annotated[Instant, AfterValidator(_bounded)]
"""An instant of a request: RFC 3339 with an offset, within the years that are taken."""
