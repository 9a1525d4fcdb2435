"""Texts of request bodies: which characters they take, and which they name as wrong."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from libs.service.body import Body, Line, Text


class Said(Body):
    """A body with a line and a text."""

    line: Annotated[str, Line(50)] = "x"
    text: Annotated[str, Text(50)] = "x"


@pytest.mark.parametrize("number", [*range(0x20), 0x7F])
def test_control_characters_are_refused_by_name_but_for_breaks_and_tabs_in_texts(number: int) -> None:
    wrong = f"a{chr(number)}b\x01"
    with pytest.raises(ValidationError, match=rf"must be one line without control characters, has U\+{number:04X}"):
        Said(line=wrong)
    if number in (0x09, 0x0A, 0x0D, 0x7F):
        assert Said(text=wrong[:3]).text == wrong[:3]
        return
    with pytest.raises(ValidationError, match=rf"but line breaks and tabs, has U\+{number:04X}"):
        Said(text=wrong)


def test_what_is_composed_differently_becomes_one_text() -> None:
    said = Said(line="Andre\u0301", text="Ame\u0301lie\n\u200d")
    assert (said.line, said.text) == ("Andr\u00e9", "Am\u00e9lie\n\u200d")
