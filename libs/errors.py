"""What can go wrong, and what happens next.

`Rejected` is never retried: the caller has to change something. `Unavailable` is: the same call will do later.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one field: its path (`links.0.object`), a code word, a sentence."""

    field: str
    code: str
    message: str


class ActivitiesError(Exception):
    """The root of all errors of ours."""


class Rejected(ActivitiesError):
    """The request or event is wrong as it is; trying again changes nothing."""

    status = 422
    code = "invalid"

    def __init__(self, message: str, problems: Iterable[Problem] = (), code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.code = code or type(self).code


class Malformed(Rejected):
    """The request cannot be read at all: broken JSON, headers that contradict each other."""

    status = 400
    code = "malformed"


class Unauthenticated(Rejected):
    """No key, an unknown, revoked or expired one."""

    status = 401
    code = "unauthenticated"


class Forbidden(Rejected):
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class NotFound(Rejected):
    """There is no such thing, or the caller may not see it: both answer the same."""

    status = 404
    code = "not_found"


class Conflict(Rejected):
    """The thing is in another state than the request needs; `link` leads to what is in the way."""

    status = 409
    code = "conflict"

    def __init__(self, message: str, code: str | None = None, link: str | None = None) -> None:
        super().__init__(message, code=code)
        self.link = link


class Stale(Rejected):
    """`If-Match` names a version that is not the current one."""

    status = 412
    code = "stale"


class TooLarge(Rejected):
    """Longer than the bound that the message names."""

    status = 413
    code = "too_large"


class Unavailable(ActivitiesError):
    """It cannot be done now; the same request succeeds later. `retry_after_s` is in whole seconds."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class TooMany(Unavailable):
    """The caller has used up its share for now."""

    status = 429
    code = "too_many"
