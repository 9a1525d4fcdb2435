"""Keys, credentials and scopes."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.access import DEFAULT_SCOPES, SCOPES, may
from libs.access.credentials import read_credentials
from libs.access.keys import NO_BUSINESS, generate_key, hash_of, matches, parse_key
from libs.access.lookup import WAITERS_MAX, Lookup, Place
from libs.contracts.ids import uuid7
from libs.errors import Malformed, Unauthenticated, Unavailable


def test_key_says_its_business_and_id_and_no_more() -> None:
    business_id = uuid7()
    key = generate_key("api", business_id)
    place = parse_key(key.text)
    assert place is not None
    assert (place.kind, place.business_id, place.id) == ("api", business_id, key.id)
    assert key.text.count("_") == 2
    assert key.hash == hash_of(key.text)
    assert key.text not in repr(key)


@given(st.integers(0, 200), st.characters(codec="utf-8"))
def test_key_with_one_wrong_character_is_refused_without_a_look_up(at: int, letter: str) -> None:
    text = generate_key("member", uuid7()).text
    at %= len(text)
    if letter != text[at]:
        assert parse_key(text[:at] + letter + text[at + 1 :]) is None


@given(st.text(max_size=200))
def test_any_other_text_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize(("kind", "business_id"), [("api", NO_BUSINESS), ("operator", UUID(int=1))])
def test_key_of_the_wrong_kind_of_place_is_not_made(kind: str, business_id: UUID) -> None:
    with pytest.raises(ValueError, match="do not go together"):
        generate_key(kind, business_id)  # type: ignore[arg-type]


def test_hash_of_nothing_matches_nothing() -> None:
    assert not matches(None, hash_of("x"))
    assert not matches(hash_of("y"), hash_of("x"))
    assert matches(hash_of("x"), hash_of("x"))


def test_key_comes_from_either_header() -> None:
    assert read_credentials([(b"x-api-key", b"k")]).key == "k"
    assert read_credentials([(b"authorization", b"bearer k")]).key == "k"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([(b"x-api-key", b"a"), (b"authorization", b"Bearer a")], "Authorization"),
        ([(b"x-api-key", b"a"), (b"x-api-key", b"a")], "X-API-KEY"),
        ([(b"x-api-key", b"a" * 300)], "X-API-KEY"),
        ([(b"x-api-key", b"a"), (b"x-business-id", b"7")], "X-BUSINESS-ID"),
        ([(b"x-api-key", b"a"), (b"x-business-id", b"")], "X-BUSINESS-ID"),
        ([(b"x-api-key", b"a"), (b"x-user-id", "ä".encode() * 18)], "X-USER-ID"),
        ([(b"x-api-key", b"a"), (b"x-user-id", str(UUID(int=1)).encode())] * 1 + [(b"x-user-id", b"")], "X-USER-ID"),
    ],
)
def test_contradicting_headers_are_malformed_and_named(headers: list[tuple[bytes, bytes]], field: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_credentials(headers)
    assert [problem.field for problem in refused.value.problems] == [field]


@pytest.mark.parametrize("headers", [[], [(b"x-api-key", b" ")], [(b"authorization", b"Basic YQ==")]])
def test_request_without_a_key_is_not_authenticated(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated):
        read_credentials(headers)


def test_named_routes_require_business_and_user() -> None:
    business = (b"x-business-id", str(UUID(int=1)).encode())
    with pytest.raises(Malformed, match="X-BUSINESS-ID is required"):
        read_credentials([(b"x-api-key", b"a")], named=True)
    with pytest.raises(Malformed, match="X-USER-ID is required"):
        read_credentials([(b"x-api-key", b"a"), business], named=True)


def test_permission_must_be_a_scope() -> None:
    with pytest.raises(ValueError, match="activities\\.fly"):
        may("activities.fly")
    assert set(SCOPES) - set(DEFAULT_SCOPES) == {"act_as"}


async def test_callers_at_once_share_queries_and_answers() -> None:
    asked: list[set[Place]] = []
    places = [(uuid7(), uuid7()) for _ in range(50)]

    async def load(wanted: set[Place]) -> dict[Place, str]:
        asked.append(set(wanted))
        await asyncio.sleep(0)
        return {place: "known" for place in wanted if place in places}

    lookup: Lookup[str] = Lookup(load, 0)
    found = await asyncio.gather(*(lookup.find(place, bool) for place in places * 4))
    assert found == ["known"] * 200
    assert len(asked) <= 3
    await lookup.find(places[0], bool)
    before = len(asked)
    lookup.forget()
    await lookup.find(places[0], bool)
    assert len(asked) == before + 1


async def test_flood_of_unknown_keys_is_refused_at_once_beyond_the_waiters() -> None:
    async def load(_wanted: set[Place]) -> dict[Place, str]:
        return {}

    lookup: Lookup[str] = Lookup(load, 60_000)
    tasks = [asyncio.ensure_future(lookup.find((uuid7(), uuid7()), bool)) for _ in range(WAITERS_MAX * 4)]
    try:
        done, waiting = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < WAITERS_MAX * 3:
            more, waiting = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            assert more, "callers beyond the bound still wait"
            done |= more
        assert len(waiting) == WAITERS_MAX
        assert {task.result() for task in done} == {None}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_unknown_key_is_found_when_it_arrives() -> None:
    calls = 0

    async def load(wanted: set[Place]) -> dict[Place, str]:
        nonlocal calls
        calls += 1
        return dict.fromkeys(wanted, "known") if calls > 3 else {}

    assert await Lookup(load, 5_000).find((uuid7(), uuid7()), bool) == "known"


async def test_database_that_is_away_fails_all_callers_of_a_query_together() -> None:
    calls = 0

    async def load(_wanted: set[Place]) -> dict[Place, str]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        raise Unavailable("away")

    lookup: Lookup[str] = Lookup(load, 0)
    found = await asyncio.gather(*(lookup.find((uuid7(), uuid7()), bool) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in found)
    assert calls <= 3


async def test_caller_who_leaves_does_not_take_the_query_from_the_others() -> None:
    gate = asyncio.Event()

    async def load(wanted: set[Place]) -> dict[Place, str]:
        await gate.wait()
        return dict.fromkeys(wanted, "known")

    lookup: Lookup[str] = Lookup(load, 0)
    first, second = (asyncio.ensure_future(lookup.find((uuid7(), uuid7()), bool)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await asyncio.wait_for(second, 5) == "known"
