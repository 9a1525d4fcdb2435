"""The 25 kinds of fields: what each takes, how it is stored, and that what is stored stays as it is."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.activity_object import ActivityObject, FieldOption, LinkedTo, ObjectField
from services.lifecycle.domain.fields import Checked, compile_object
from services.lifecycle.domain.fields.choices import yes_no_maybe
from services.lifecycle.domain.fields.kinds import KINDS, LINKED, checker_of, is_blank
from services.lifecycle.domain.fields.wrong import Wrong

MEMBER = "0190a0b0-0000-7000-8000-0000000000aa"
RED, BLUE = (
    FieldOption(id=f"0190a0b0-0000-7000-8000-000000000f1{place}", name=name.title(), code=name)
    for place, name in enumerate(("red", "blue"))
)
STORED_RED, STORED_BLUE = ({"id": each.id, "name": each.name, "code": each.code} for each in (RED, BLUE))


def field(kind: str, name: str = "f", **more: Any) -> ObjectField:
    identity = str(UUID(int=sum(map(ord, name + kind)) + 1))
    settings: dict[str, Any] = {"id": identity, "name": name, "field_type": kind} | more
    if kind in KINDS and KINDS[kind].options == "required":
        settings.setdefault("options", [RED, BLUE])
    if kind == "yesnomaybe":
        settings["options"] = [
            FieldOption(id=each.id, name=each.name, code=each.code) for each in yes_no_maybe(identity)
        ]
    if kind == "relationship":
        settings.setdefault("relation", "account")
    return ObjectField(**settings)


def definition(*fields: ObjectField, **more: Any) -> ActivityObject:
    return ActivityObject(
        business_id=UUID(int=1),
        id=UUID(int=2),
        version=1,
        name="Call",
        api_name="call",
        fields=[each.model_copy(update={"order": place}) for place, each in enumerate(fields)],
        created_at="2026-01-01T00:00:00Z",
        **more,
    )


def check(fields: list[ObjectField], logging: bool = False, held: Any = None, **values: Any) -> Checked:
    return compile_object(definition(*fields)).check(values.items(), logging=logging, held=held)


def codes(checked: Checked) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in checked.problems]


def test_there_are_25_kinds() -> None:
    assert len({*KINDS, LINKED}) == 25


YES = {"id": yes_no_maybe(field("yesnomaybe").id)[0].id, "name": "Yes", "code": "yes"}
TAKEN = [
    ("checkbox", True, True),
    ("checkboxes", ["blue", RED.id], [STORED_RED, STORED_BLUE]),
    ("choices", ["red", {"name": "Red"}], [STORED_RED]),
    ("date", "2026-02-28", "2026-02-28"),
    ("datetime", "2026-02-28T09:00:00+01:00", "2026-02-28T08:00:00Z"),
    ("decimal", 12.50, "12.5"),
    ("decimal", "1e3", "1000"),
    ("dropdown", {"id": RED.id}, STORED_RED),
    ("email", " Ada@Example.COM ", "Ada@example.com"),
    ("files", "https://a.example/b.pdf", ["https://a.example/b.pdf"]),
    ("files", [{"id": MEMBER.upper()}], [MEMBER]),
    ("integer", -7, -7),
    ("longtext", "two\nlines", "two\nlines"),
    ("money", 12, "12.00"),
    ("money", "0.10", "0.10"),
    ("phonenumber", "+49 (30) 901820", "+4930901820"),
    ("radio", "Blue", STORED_BLUE),
    ("rating", 5, 5),
    ("relationship", MEMBER, [{"object": "account", "id": MEMBER}]),
    ("selector", "red", STORED_RED),
    ("status", "red", STORED_RED),
    ("team_selector", {"id": MEMBER}, {"id": MEMBER}),
    ("text", "e\u0301", "é"),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("wysiwyg", "<p onclick='x()'>hi<script>x()</script></p>", "<p>hi</p>"),
    ("wysiwyg", "R&D", "R&D"),
    ("yesnomaybe", "yes", YES),
]


@pytest.mark.parametrize(("kind", "given_value", "stored"), TAKEN, ids=lambda value: str(value)[:30])
def test_a_value_is_stored_in_its_one_form(kind: str, given_value: Any, stored: Any) -> None:
    checked = check([field(kind)], f=given_value)
    assert (checked.problems, checked.stored) == ([], {"f": stored})


REFUSED = [
    ("checkbox", "true"), ("checkboxes", "red"), ("choices", ["green"]), ("date", "2026-02-30"), ("date", "2026-W05-1"),
    ("datetime", "2026-02-28T09:00:00"), ("decimal", "12,5"), ("decimal", "1e40"), ("decimal", "NaN"),
    ("dropdown", "green"), ("dropdown", ["red"]), ("email", "ada@localhost"), ("email", "a b@example.com"),
    ("files", "ftp://a.example"), ("integer", 1.5), ("integer", "7"), ("integer", 2**53), ("integer", True),
    ("longtext", "a\x00"), ("money", "0.001"), ("phonenumber", "030 901820"), ("phonenumber", "+49"), ("radio", {}),
    ("rating", 0), ("rating", 6), ("relationship", "x"), ("relationship", {"object": "lead", "id": MEMBER}),
    ("selector", 1), ("status", "grey"), ("team_selector", "Ada"),
    ("text", "two\nlines"), ("text", "x" * 1001), ("timezone", "Mars/Base"), ("wysiwyg", 3), ("yesnomaybe", "perhaps"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given_value"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_a_kind_does_not_take_is_refused_by_name(kind: str, given_value: Any) -> None:
    checked = check([field(kind)], f=given_value)
    assert [problem.field for problem in checked.problems] == ["fields.f"]
    assert checked.stored == {}


@pytest.mark.parametrize("kind", ["decimal", "money", "integer", "rating", "text", "dropdown", "files"])
def test_a_number_without_end_is_refused_and_not_printed(kind: str) -> None:
    [problem] = check([field(kind)], f=-(10**5000)).problems
    assert len(problem.message) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "code", "name", "url"]), inner),
    max_leaves=6,
)
LIKELY = {
    "email": st.from_regex(r"[\w.]{1,8}@[\w.-]{1,9}\.\w{2,4}", fullmatch=True),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.floats(),
    "money": st.decimals(allow_nan=False, places=2).map(str),
    "datetime": st.datetimes(timezones=st.timezones()).map(lambda value: value.isoformat()),
    "date": st.dates().map(str),
    "wysiwyg": st.lists(st.sampled_from(["<b>", "</b>", "<script>", "<a href='x'>", "&amp;", "&lt;", "<", ">", "\u0338",
                                         "<!--", "-->", "<svg>", "<style>", "</style>", "<math>", "x"])).map("".join),
    "phonenumber": st.from_regex(r"\+[1-9][0-9]{6,12}", fullmatch=True),
    "dynamictags": st.lists(st.text(max_size=8)),
    "rating": st.integers(-1, 7),
    "files": st.uuids().map(str),
    "team_selector": st.uuids().map(str),
    "relationship": st.lists(st.uuids().map(str), max_size=4),
    "timezone": st.timezone_keys(),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_stored_value_stays_as_it_is(kind: str, data: st.DataObject) -> None:
    options = st.sampled_from(["red", "Blue", RED.id, {"code": "red"}, "yes", {"name": "Maybe"}])
    value = data.draw(JSON | LIKELY.get(kind, st.nothing()) | options | st.lists(options))
    checker = checker_of(field(kind))
    if is_blank(value):
        return
    try:
        once = checker(value)
    except Wrong:
        return
    if not is_blank(once):
        assert checker(once) == once


def test_all_problems_are_named_at_once() -> None:
    fields = [field("integer", "a"), field("rating", "b"), field("text", "c", is_required=True), field("text", "d")]
    checked = check(fields, logging=True, a="x", b=9, unknown=1)
    assert codes(checked) == [
        ("fields.a", "not_integer"),
        ("fields.b", "rating_range"),
        ("fields.unknown", "unknown_field"),
        ("fields.c", "required"),
    ]


def test_a_required_field_is_enforced_when_logging_alone() -> None:
    fields = [field("text", "a", is_required=True), field("integer", "b", is_required=True)]
    assert codes(check(fields, a=" ")) == []
    assert codes(check(fields, logging=True, a=" ", b="x")) == [("fields.b", "not_integer")]
    assert codes(check(fields, logging=True, a="")) == [("fields.a", "required"), ("fields.b", "required")]
    assert codes(check(fields, logging=True, held={"a": "x"}, b=1)) == []


def test_a_read_only_field_takes_no_value_and_is_not_missed() -> None:
    fields = [field("text", "a", is_required=True, is_read_only=True)]
    assert codes(check(fields, logging=True)) == []
    assert codes(check(fields, logging=True, a="x")) == [("fields.a", "read_only")]


def test_a_hidden_field_takes_no_value_and_is_not_missed() -> None:
    fields = [field("text", "a", is_required=True, is_hidden=True)]
    assert codes(check(fields, logging=True)) == []
    assert codes(check(fields, logging=True, a="x")) == [("fields.a", "hidden")]
    assert check(fields, logging=True, held={"a": "x"}).stored == {"a": "x"}


def test_a_blank_value_takes_away_what_is_held() -> None:
    checked = check([field("text", "a"), field("text", "b")], held={"a": "x", "b": "y"}, a=None)
    assert checked.stored == {"b": "y"}


def test_a_field_is_named_by_id_or_name_and_only_once() -> None:
    one = field("text", "a")
    checked = compile_object(definition(one)).check([(one.id, "x"), ("a", "y")], logging=False)
    assert (checked.stored, codes(checked)) == ({"a": "x"}, [("fields.a", "twice")])


def test_a_new_tag_is_the_same_tag_whoever_writes_it() -> None:
    stored = check([field("dynamictags")], f=["Big deal", "big  deal", "VIP"]).stored["f"]
    assert [tag["code"] for tag in stored] == ["big_deal", "vip"]
    known = field("dynamictags", options=[FieldOption(id=RED.id, name="Big deal", code="big_deal")])
    assert check([known], f=["big deal"]).stored["f"] == [{"id": RED.id, "name": "Big deal", "code": "big_deal"}]


def test_a_deleted_option_is_not_taken() -> None:
    gone = field("dropdown", options=[RED.model_copy(update={"deleted_at": "2026-01-01T00:00:00Z"}), BLUE])
    assert codes(check([gone], f="red")) == [("fields.f", "not_an_option")]


def test_a_linked_value_is_of_its_own_kind_and_set_aside_for_its_record() -> None:
    linked = field(LINKED, custom_field_type="money", custom_object_field=LinkedTo(object="contact", name="budget"))
    checked = check([linked, field("text", "a")], f="12.5", a="x")
    assert (checked.stored, checked.linked) == ({"f": "12.50", "a": "x"}, {"f": "12.50"})
    assert check([linked], held={"f": "1.00"}, f=None).linked == {"f": None}


def test_members_and_records_that_values_refer_to_are_named() -> None:
    fields = [field("team_selector", "owner"), field("relationship", "about")]
    found = check(fields, owner=MEMBER, about=[MEMBER]).references
    assert found == [("owner", None, UUID(MEMBER)), ("about", "account", UUID(MEMBER))]


@pytest.mark.parametrize(("decimals", "stored"), [(0, "13"), (3, "13.000")])
def test_money_has_the_decimals_of_its_field(decimals: int, stored: str) -> None:
    assert check([field("money", decimals=decimals)], f=13).stored == {"f": stored}


def test_a_phone_number_without_country_is_read_as_in_the_region() -> None:
    assert check([field("phonenumber", phone_region="DE")], f="030 901820").stored == {"f": "+4930901820"}
