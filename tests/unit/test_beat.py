"""Chores of a process keep one beat."""

import time

import pytest

from libs.beat import SOON, to_next


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("past", [0.0, 0.1, 0.5, 0.75, 0.9, 0.999])
def test_whatever_is_done_every_so_often_falls_on_one_beat(
    seconds: float, past: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000 * seconds + past * seconds
    monkeypatch.setattr(time, "monotonic", lambda: now)
    wait_s = to_next(seconds)
    assert (now + wait_s) / seconds == pytest.approx(round((now + wait_s) / seconds))
    assert SOON * seconds < wait_s <= (1 + SOON) * seconds
