"""What a fetch has to name within its session."""

from libs.messaging.fetching import SESSION_UNKNOWN, Session

ONE, OTHER, THIRD = ("happened", 0), ("happened", 1), ("named", 0)
SIZE = 1_000


def granted(wanted: dict[tuple[str, int], tuple[int, int]]) -> Session:
    session = Session()
    assert session.ask(wanted) == (0, 0, list(wanted), [])
    session.answered(0, 7)
    return session


def test_only_partitions_that_moved_are_named() -> None:
    session = granted({ONE: (5, SIZE), OTHER: (0, SIZE)})
    assert session.ask({ONE: (6, SIZE), OTHER: (0, SIZE)}) == (7, 1, [ONE], [])
    session.answered(0, 7)
    assert session.ask({ONE: (6, SIZE), OTHER: (0, SIZE)}) == (7, 2, [], [])


def test_partition_that_is_held_back_is_forgotten_and_named_when_it_is_wanted_again() -> None:
    session = granted({ONE: (5, SIZE), OTHER: (0, SIZE)})
    assert session.ask({ONE: (5, SIZE)}) == (7, 1, [], [OTHER])
    session.answered(0, 7)
    assert session.ask({ONE: (5, SIZE), OTHER: (0, SIZE), THIRD: (1, SIZE)}) == (7, 2, [OTHER, THIRD], [])


def test_request_without_an_answer_ends_the_session() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ask({ONE: (6, SIZE)})
    session.ended()
    assert session.ask({ONE: (6, SIZE)}) == (7, 0, [ONE], [])


def test_answered_request_that_is_over_leaves_the_session_open() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ended()
    assert session.ask({ONE: (6, SIZE)}) == (7, 1, [ONE], [])


def test_session_that_the_broker_does_not_know_is_not_named_again() -> None:
    session = granted({ONE: (5, SIZE)})
    session.ask({ONE: (5, SIZE)})
    session.answered(SESSION_UNKNOWN, 0)
    assert session.ask({ONE: (5, SIZE)}) == (0, 0, [ONE], [])


def test_broker_that_keeps_no_session_is_told_all_each_time() -> None:
    session = Session()
    for _ in range(2):
        assert session.ask({ONE: (5, SIZE)}) == (0, 0, [ONE], [])
        session.answered(0, 0)
