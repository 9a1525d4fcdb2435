"""Rates: never more than the burst at once, never more than the rate for long, and what is left is told truly."""

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from libs.access.principal import Principal
from libs.access.rates import Rates

BUSINESS = uuid4()


def _caller(business_id: UUID = BUSINESS) -> Principal:
    return Principal(business_id, uuid4(), "api", None, frozenset(), "UTC")


def _taken(rates: Rates, caller: Principal, now: float, tries: int) -> int:
    return sum(not rates.take(caller, now).wait_s for _ in range(tries))


def test_a_burst_passes_and_no_more() -> None:
    rates, caller = Rates(10, 20), _caller()
    assert _taken(rates, caller, 100.0, 50) == 20


def test_what_is_left_counts_down_and_the_refusal_says_when() -> None:
    rates, caller = Rates(10, 3), _caller()
    assert [rates.take(caller, 5.0).requests for _ in range(4)] == [2, 1, 0, 0]
    refused = rates.take(caller, 5.0)
    assert refused.wait_s == 1
    assert "10 requests a second and 3 at once; come again in 1 s" in rates.refusal(refused).message
    assert dict(refused.headers()) == {b"ratelimit-policy": b'"key";q=3;w=1', b"ratelimit": b'"key";r=0;t=1'}


def test_a_refused_request_costs_nothing() -> None:
    rates, caller = Rates(10, 5), _caller()
    assert _taken(rates, caller, 0.0, 1_000) == 5
    assert _taken(rates, caller, 0.5, 1_000) == 5


def test_keys_of_one_business_share_its_rate_and_other_businesses_do_not() -> None:
    rates, one, other, stranger = Rates(10, 20), _caller(), _caller(), _caller(uuid4())
    assert _taken(rates, one, 0.0, 15) == 15
    assert _taken(rates, other, 0.0, 15) == 5
    assert rates.take(other, 0.0).named == "business"
    assert _taken(rates, stranger, 0.0, 15) == 15


@given(st.integers(1, 50), st.integers(1, 60), st.lists(st.floats(0, 2), max_size=120))
def test_over_any_span_no_more_passes_than_rate_and_burst_allow(rate: int, burst: int, pauses: list[float]) -> None:
    rates, caller = Rates(rate, burst), _caller()
    now = 1_000.0
    passed: list[float] = []
    for pause in pauses:
        now += pause
        left = rates.take(caller, now)
        if not left.wait_s:
            passed.append(now)
            assert 0 <= left.requests < burst
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) + 1e-6
