"""How fast an endpoint is sent to: exchanges at once, its rate, retries, and a breaker."""

import pytest

from services.webhook_dispatcher.domain.pace import Breaker, Bucket, Cap, RetryBudget


def test_cap_grows_with_each_fast_success_up_to_its_limit() -> None:
    cap = Cap(16)
    seen = []
    for _ in range(20):
        seen.append(cap.value)
        cap.learn(True, 0.01, False)
    assert seen[:3] == [2, 3, 4]
    assert cap.value == 16


def test_cap_halves_after_trouble_and_stays_at_two() -> None:
    cap = Cap(16)
    for _ in range(20):
        cap.learn(True, 0.01, False)
    for wanted in (8, 4, 2, 2):
        cap.learn(False, 15.0, True)
        assert cap.value == wanted


def test_slow_success_and_plain_refusal_leave_the_cap_as_it_is() -> None:
    cap = Cap(16)
    cap.learn(True, 1.5, False)
    cap.learn(False, 0.01, False)
    assert cap.value == 2


@pytest.mark.parametrize("per_s", [0.5, 3.0, 100.0])
def test_bucket_lets_no_more_out_than_its_rate(per_s: float) -> None:
    bucket, now, sent = Bucket(per_s, 0.0), 0.0, 0
    while now < 60:
        wait_s = bucket.wait_s(now)
        if wait_s == 0:
            bucket.take()
            sent += 1
        else:
            now += wait_s
    assert abs(sent - 60 * per_s) <= 1


def test_retries_are_a_fifth_of_first_attempts_where_there_are_many() -> None:
    budget = RetryBudget(1.0, 0.0)
    budget.spend(budget.left(0.0))
    for _ in range(500):
        budget.learn(first=True, worked=True)
    assert budget.left(0.0) == 100
    budget.spend(100)
    for _ in range(100):
        budget.learn(first=False, worked=False)
    assert budget.left(0.0) == 0
    assert budget.left(3.0) == 3  # the least there is


def test_what_piled_up_goes_out_on_a_ramp_once_retries_work() -> None:
    budget, rounds = RetryBudget(1.0, 0.0), []
    budget.spend(8)
    for _ in range(6):
        may = budget.left(0.0)
        budget.spend(may)
        for _ in range(may):
            budget.learn(first=False, worked=True)
        rounds.append(may)
    assert rounds == [2, 3, 4, 6, 9, 13] or rounds == sorted(rounds)
    assert rounds[-1] > 4 * rounds[0]


def test_breaker_opens_when_most_of_at_least_eight_failed() -> None:
    breaker = Breaker()
    assert [breaker.learn(False, 0.1 * n) for n in range(8)] == [None] * 7 + [5.0]
    assert breaker.opened == 1


def test_breaker_stays_closed_at_a_fifth_failing_and_forgets_after_a_minute() -> None:
    breaker = Breaker()
    assert all(breaker.learn(n % 5 != 0, 0.01 * n) is None for n in range(1000))
    breaker = Breaker()
    assert all(breaker.learn(False, 10.0 * n) is None for n in range(50))


def test_probe_closes_the_breaker_or_opens_it_for_twice_as_long_up_to_five_minutes() -> None:
    breaker = Breaker(opened=1)
    assert [breaker.learn(False, 0.0) for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    assert breaker.learn(True, 0.0) is None
    assert breaker.opened == 0
