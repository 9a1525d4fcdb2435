"""Who sends next: lanes of endpoints, fair between businesses, each at its own pace."""

from math import inf
from typing import Any
from uuid import UUID

from services.webhook_dispatcher.lanes import Lanes
from services.webhook_dispatcher.lease import KNOWN_S
from services.webhook_dispatcher.store.queue import Claimed
from services.webhook_dispatcher.store.targets import Target

A, B = UUID(int=1 << 100), UUID(int=2 << 100)


def target(business: UUID, number: int, **fields: Any) -> Target:
    return Target(business, UUID(int=business.int + number), 1, "https://example.com/", "active", False, (), **fields)


def claims(to: Target, count: int, rank: int = 0) -> list[Claimed]:
    return [Claimed(to.business_id, UUID(int=n), to.endpoint_id, 1, 0, rank, b"{}", None) for n in range(count)]


def lanes_of(*targets: Target, permits_max: int = 512) -> Lanes:
    lanes = Lanes(permits_max, 16)
    lanes.follow(targets, 0.0)
    return lanes


def take_all(lanes: Lanes, now: float = 0.0) -> list[UUID]:
    taken = []
    while (found := lanes.next(now)) is not None:
        taken.append(found[1].endpoint_id)
    return taken


def learn(lanes: Lanes, to: Target, times: int, error: str | None = None, now: float = 0.0) -> None:
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    for _ in range(times):
        lane.learn(True, (error, 500 if error else 200, 0.01), 0.0, now)


def test_business_that_floods_takes_turns_with_the_other() -> None:
    flood, one = [target(A, n) for n in range(10)], target(B, 1)
    lanes = lanes_of(*flood, one)
    learn(lanes, one, 20)
    for each in flood:
        lanes.put(claims(each, 50), 0.0)
    lanes.put(claims(one, 5), 0.0)
    first = take_all(lanes)[:10]
    assert [id_ for id_ in first if id_ == one.endpoint_id] == [one.endpoint_id] * 5
    assert len(set(first)) == 6  # and the endpoints of the flooding one take turns, too


def test_lane_sends_two_at_once_then_as_many_as_it_has_earned() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lanes.put(claims(to, 100), 0.0)
    assert len(take_all(lanes)) == 2
    learn(lanes, to, 30)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    lanes.release(lane, 0.0)
    assert len(take_all(lanes)) == 15


def test_one_lane_holds_at_most_a_quarter_of_all_exchanges() -> None:
    to = target(A, 1)
    lanes = lanes_of(to, permits_max=16)
    learn(lanes, to, 50)
    lanes.put(claims(to, 100), 0.0)
    assert len(take_all(lanes)) == 4


def test_exchanges_of_all_lanes_are_bounded() -> None:
    many = [target(A, n) for n in range(40)]
    lanes = lanes_of(*many, permits_max=16)
    for each in many:
        lanes.put(claims(each, 2), 0.0)
    assert len(take_all(lanes)) == 16


def test_rate_is_kept_and_the_lane_wakes_in_time() -> None:
    to = target(A, 1, rate_limit_per_s=10.0)
    lanes = lanes_of(to)
    learn(lanes, to, 30)
    lanes.put(claims(to, 5), 0.0)
    assert len(take_all(lanes)) == 1
    assert abs(lanes.wake_at() - 0.1) < 1e-6
    assert len(take_all(lanes, 0.1001)) == 1


def test_parked_lane_wants_nothing_until_its_time_and_then_one_probe() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    lane.due = [0.0, inf, inf]
    learn(lanes, to, 8, "http_5xx")
    assert lane.state(1.0) == "parked"
    assert lanes.wants(1.0, 256) == []
    assert [one.rows for one in lanes.wants(5.1, 256)] == [1]
    lanes.follow([to], 5.1)
    lanes.put(claims(to, 3), 5.1)
    assert len(take_all(lanes, 5.1)) == 1
    learn(lanes, to, 1, now=5.2)
    lanes.release(lane, 5.2)
    assert lane.state(5.2) == "open"
    assert len(take_all(lanes, 5.2)) == 2


def test_retry_after_holds_the_whole_lane() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    assert lane.learn(True, ("http_4xx", 429, 0.01), 60.0, 0.0) == (60.0, "retry_after", 0)
    lanes.put(claims(to, 1), 0.0)
    assert take_all(lanes, 59.0) == []
    assert lane.state(59.0) == "throttled"
    lanes.follow([to], 60.1)
    assert len(take_all(lanes, 60.1)) == 1


def test_hold_that_was_saved_is_kept_by_the_next_worker_and_ended_by_its_owner() -> None:
    to = target(A, 1, held_s=100.0, holds=2)
    lanes = lanes_of(to)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    lane.due = [0.0, inf, inf]
    assert lanes.wants(50.0, 256) == []
    lanes.follow([to._replace(held_s=0.0, holds=0, version=2)], 50.0)
    assert [one.rows for one in lanes.wants(50.0, 256)] == [2]


def test_rows_are_divided_by_business_and_then_by_endpoint() -> None:
    flood, one = [target(A, n) for n in range(100)], target(B, 1)
    lanes = lanes_of(*flood, one)
    for lane in lanes:
        lane.due = [0.0, inf, inf]
    learn(lanes, one, 40)
    wanted = {each.endpoint_id: each.rows for each in lanes.wants(0.0, 64)}
    assert wanted[one.endpoint_id] == 32
    assert sum(wanted.values()) == 64
    later = {each.endpoint_id for each in lanes.wants(0.0, 64)} - {one.endpoint_id}
    assert not later & wanted.keys()  # who got nothing is first the next time


def test_what_is_new_goes_before_retries_and_replays() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    learn(lanes, to, 40)
    lane.due = [0.0, 0.0, 0.0]
    lane.retries.spend(1_000)
    turns = [[one.rank for one in lanes.wants(0.0, 64)] for _ in range(8)]
    assert turns == [[0], [0], [0], [2]] * 2  # and no retry beyond its budget
    lane.due[0] = inf
    assert [one.rank for one in lanes.wants(0.0, 64)] == [2]


def test_nothing_is_leased_at_once_for_an_ordered_a_held_or_a_full_lane() -> None:
    plain, ordered, held = target(A, 1), target(A, 2, ordered=True), target(A, 3, held_s=9.0)
    lanes = lanes_of(plain, ordered, held)
    wanted = [each.endpoint_id for each in (plain, ordered, held, plain, plain)]
    assert lanes.fitting(wanted, 0.0) == [True, False, False, True, False]


def test_what_is_new_is_leased_at_once_beside_what_waits_in_the_store_only_while_the_lane_has_a_free_exchange() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lane = lanes.find(to.endpoint_id)
    assert lane is not None
    lane.due[0] = 0.0
    assert lanes.fitting([to.endpoint_id], 0.0) == [True]
    lanes.put(claims(to, 2), 0.0)
    assert lanes.fitting([to.endpoint_id], 0.0) == [False]
    assert len(take_all(lanes)) == 2
    assert lanes.fitting([to.endpoint_id], 0.0) == [False]
    lanes.release(lane, 0.0)
    assert lanes.fitting([to.endpoint_id], 0.0) == [True]


def test_endpoint_that_was_changed_is_sent_nothing_before_it_was_read_again() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lanes.put(claims(to, 2), 0.0)
    lanes.changed(to.endpoint_id, 1.0)
    assert take_all(lanes, 1.0) == []
    lanes.follow([to], 1.2, 0.9)
    assert (take_all(lanes, 1.2), lanes.unknown(1.2)) == ([], [(A, to.endpoint_id)])
    lanes.follow([to], 1.3, 1.1)
    assert (len(take_all(lanes, 1.3)), lanes.unknown(1.3)) == (2, [])


def test_what_was_read_before_a_change_counts_for_no_lane_made_later() -> None:
    to = target(A, 1)
    lanes = Lanes(512, 16)
    lanes.changed(to.endpoint_id, 1.0)
    lanes.follow([to], 1.1, 0.9)
    assert lanes.fitting([to.endpoint_id], 1.1) == [False]
    lanes.follow([to], 1.2, 1.1)
    assert lanes.fitting([to.endpoint_id], 1.2) == [True]


def test_what_is_known_of_an_endpoint_runs_out() -> None:
    to = target(A, 1)
    lanes = lanes_of(to)
    lanes.put(claims(to, 2), 0.0)
    assert take_all(lanes, KNOWN_S) == []
    assert lanes.unknown(KNOWN_S) == [(A, to.endpoint_id)]
