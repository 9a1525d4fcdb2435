"""What is wrong with a request is said in plain words that name what is allowed."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from libs.service.problems import read_validation

DAY, INSTANT = "a day, such as 2026-01-31", "an instant with an offset, such as 2026-01-31T09:00:00Z"


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Literal["phone", "mail"], "fax", "must be 'phone' or 'mail'"),
        (Annotated[int, Field(ge=0)], -1, "must be at least 0"),
        (Annotated[int, Field(gt=0)], 0, "must be more than 0"),
        (Annotated[int, Field(le=5)], 6, "must be at most 5"),
        (Annotated[int, Field(lt=5)], 5, "must be less than 5"),
        (Annotated[str, Field(min_length=1)], "", "must not be empty"),
        (Annotated[str, Field(min_length=2)], "a", "must have at least 2 characters"),
        (Annotated[str, Field(max_length=2)], "abc", "must have at most 2 characters"),
        (Annotated[str, Field(pattern="^#[0-9]{2}$")], "red", "must match ^#[0-9]{2}$"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "has 2; at most 1 are taken"),
        (Annotated[list[int], Field(min_length=1)], [], "must not be empty"),
        (Annotated[list[int], Field(min_length=2)], [1], "has 1; at least 2 are needed"),
        (str, 1, "must be a text"),
        (list[int], 1, "must be a list"),
        (dict[str, Any], 1, "must be an object"),
        (bool, "maybe", "must be true or false"),
        (UUID, "x", "must be a UUID"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (date, "x", f"must be {DAY}"),
        (date, "2026-01-01T10:00:00Z", f"must be {DAY}"),
        (datetime, "x", f"must be {DAY}, or {INSTANT}"),
        (datetime, "2026-01-01T99:00:00Z", f"must be {DAY}, or {INSTANT}"),
    ],
)
def test_a_problem_says_what_is_allowed(kind: Any, value: Any, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    [problem] = read_validation(raised.value.errors())
    assert (problem.field, problem.message) == ("body", said)
