"""Directory's decisions."""

from datetime import timedelta

import pytest

from libs.access import DEFAULT_SCOPES, SCOPES
from libs.contracts.ids import uuid7
from libs.errors import Forbidden, Rejected, Stale
from services.directory.domain import rules
from services.directory.store.records import escape_like


def test_zone_must_be_an_iana_name() -> None:
    assert rules.check_zone("Asia/Kathmandu") == "Asia/Kathmandu"
    for zone in ("", "Mars/Olympus", "+01:00", "../etc/passwd", "Factory"):
        with pytest.raises(ValueError, match="is not an IANA time zone"):
            rules.check_zone(zone)


def test_key_without_scopes_has_all_but_act_as() -> None:
    assert rules.grant_scopes(None, frozenset(SCOPES)) == list(DEFAULT_SCOPES)


def test_nobody_gives_a_scope_that_they_do_not_have() -> None:
    assert rules.grant_scopes(None, frozenset({"directory.write", "act_as"})) == ["directory.write"]
    with pytest.raises(Forbidden):
        rules.grant_scopes(["records.read", "act_as"], frozenset(DEFAULT_SCOPES))


def test_unknown_scope_is_named_by_its_place() -> None:
    with pytest.raises(Rejected) as refused:
        rules.grant_scopes(["records.read", "fly"], frozenset(SCOPES))
    assert [problem.field for problem in refused.value.problems] == ["scopes.1"]


def test_token_lives_thirty_days_unless_told() -> None:
    assert rules.token_life(None) == timedelta(days=30)
    assert rules.token_life(60) == timedelta(minutes=1)


def test_status_is_one_of_the_objects() -> None:
    owner = uuid7()
    assert not list(rules.check_record("New", owner, ["New"], {owner}))
    assert not list(rules.check_record("anything", None, [], ()))
    assert [problem.field for problem in rules.check_record("Old", owner, ["New"], ())] == ["status", "owner_id"]


def test_null_takes_a_field_away() -> None:
    assert rules.merge_fields({"a": 1, "b": 2}, {"b": None, "c": 0}) == {"a": 1, "c": 0}


def test_stale_version_is_refused() -> None:
    rules.check_version(3, None)
    rules.check_version(3, 3)
    with pytest.raises(Stale, match="the current one is 3"):
        rules.check_version(3, 2)


def test_search_takes_its_text_literally() -> None:
    assert escape_like(r"50%_\x") == r"50\%\_\\x"
