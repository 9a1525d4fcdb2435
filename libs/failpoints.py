"""Named places around every commit, publish, acknowledgement and send where a test can make the process fail.

Switched on by the variable ACTIVITIES_FAILPOINTS alone, for example
`relay.publish.after=kill@20,ingest.commit.reported=error@5`: the action happens the n-th time the place is reached.
Actions: `kill` (SIGKILL to this process), `error` (raise `Unavailable`), `stop` (SIGSTOP). Unset, a place costs one
dictionary look-up in an empty dictionary.

Places come in threes, `<name>.before`, `<name>.after` and `<name>.reported`: the last is reached when the thing was
done, and `error` there is "did it, then reported failure".
"""

import os
import signal

from libs.errors import Unavailable

_armed: dict[str, tuple[str, int]] = {}
_reached: dict[str, int] = {}


def arm(text: str) -> None:
    """Arm the places that `text` names (`place=action@n,…`); an empty text disarms all. Raises ValueError."""
    _armed.clear()
    _reached.clear()
    for item in filter(None, text.split(",")):
        place, _, what = item.partition("=")
        action, _, count = what.partition("@")
        if action not in {"kill", "error", "stop"}:
            raise ValueError(f"failpoint {place!r}: action {action!r} is not one of kill, error, stop")
        _armed[place] = (action, int(count or 1))


def reach(place: str) -> None:
    """Fail here if a test has asked for it."""
    if place not in _armed:
        return
    _reached[place] = _reached.get(place, 0) + 1
    action, count = _armed[place]
    if _reached[place] != count:
        return
    if action == "error":
        raise Unavailable(f"failpoint {place}")
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


arm(os.environ.get("ACTIVITIES_FAILPOINTS", ""))
