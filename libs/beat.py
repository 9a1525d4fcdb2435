"""A beat that all chores of a process keep: a quiet one wakes up once for all of them, not once for each."""

import time

SOON = 0.2
"""Of a beat: one that is nearer is let pass, since whatever waits for it has just been done."""


def to_next(seconds: float) -> float:
    """Say how long it is to the next beat of so many seconds: for what is done about that often, in no hurry.

    It is between a fifth of a beat and a fifth more than a beat away.
    """
    left_s = seconds - time.monotonic() % seconds
    return left_s if left_s > SOON * seconds else left_s + seconds
