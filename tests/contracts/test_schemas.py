"""The schemas of each release stay as they were, and no release breaks the readers or writers of the one before."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from libs.contracts import schemas

NEWEST = schemas.release_number()


def test_released_schemas_are_those_of_the_code() -> None:
    assert schemas.read_release(NEWEST) == schemas.current(), (
        "shapes changed: add a line to libs/contracts/CHANGELOG.md and run ./activities contracts"
    )


@pytest.mark.parametrize("number", range(2, NEWEST + 1))
def test_no_release_breaks_the_one_before(number: int) -> None:
    before, after = schemas.read_release(number - 1), schemas.read_release(number)
    assert before.keys() <= after.keys()
    broken = {topic: schemas.breaks(before[topic], after[topic]) for topic in before}
    assert not any(broken.values()), broken


def _changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    before = schemas.current()["activity.created"]
    after = copy.deepcopy(before)
    change(after["$defs"]["Activity"])
    return schemas.breaks(before, after)


def test_a_field_may_be_added() -> None:
    assert _changed(lambda shape: shape["properties"].update(mood={"type": "string"})) == []


def test_a_removed_field_is_named() -> None:
    assert _changed(lambda shape: shape["properties"].pop("notes")) == [".activity.notes is gone"]


def test_a_retyped_field_is_named() -> None:
    found = _changed(lambda shape: shape["properties"].update(version={"type": "string"}))
    assert found == [".activity.version: type was 'integer' and is 'string'"]


def test_a_new_word_in_a_list_of_words_is_named() -> None:
    def widen(shape: dict[str, Any]) -> None:
        shape["properties"]["source_kind"]["enum"].append("robot")

    assert "source_kind: enum was" in _changed(widen)[0]


def test_a_required_field_that_older_events_lack_is_named() -> None:
    def demand(shape: dict[str, Any]) -> None:
        shape["properties"]["mood"] = {"type": "string"}
        shape["required"].append("mood")

    assert _changed(demand) == [".activity.mood is required now: older events lack it"]


def test_a_field_that_older_readers_need_may_not_become_optional() -> None:
    found = _changed(lambda shape: shape["required"].remove("type_name"))
    assert found == [".activity.type_name may be absent now: older readers fail"]


def test_a_narrower_kind_inside_a_list_is_named() -> None:
    found = _changed(
        lambda shape: shape["properties"].update(attachments={"type": "array", "items": {"type": "integer"}})
    )
    assert found == [".activity.attachments[]: type was 'string' and is 'integer'"]
