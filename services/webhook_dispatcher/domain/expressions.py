"""Expressions that decide whether an endpoint is told: CEL over the public body (`type`, `timestamp`, `data`).

What an expression may cost is bounded before it is taken: its length, how many macros it has, none within another, no
regular expressions (one of 30 characters took 4.7 s over 4,000 [measured]); and what it sees is cut to so many items
and characters. The costliest one found within these bounds takes 10 ms over the largest body [measured].
"""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import UUID

import cel
import msgspec
import orjson

from libs.errors import Problem, Rejected
from services.webhook_dispatcher.domain import bodies

LENGTH_MAX = 1_000
MACROS_MAX = 5
PLUSES_MAX = 10
ITEMS_SEEN_MAX, NAMES_SEEN_MAX, CHARACTERS_SEEN_MAX, DEPTH_SEEN_MAX = 50, 100, 1_000, 8
TRIAL_MAX_MS = 20.0
PROGRAMS_KEPT_MAX = 2_048
MESSAGE_MAX = 200
TROUBLES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
FIELD = "filter.expression"

_STRINGS = re.compile(r"""[rRbB]{0,2}("{3}.*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", re.DOTALL)
_DATA = (re.compile(r"(?<![\w.])data\s*\.\s*(\w+)"), frozenset(bodies.Data.__struct_fields__))
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(")

Seen = cel.Context
"""A body as expressions see it."""


class Failed(Exception):
    """An expression has no answer for this body; it then lets nothing through. The message is for its owner."""


def check_expression(text: str) -> None:
    """Compile an expression and try it on the largest body there can be. Raises Rejected naming the field."""
    if len(text) > LENGTH_MAX:
        raise _refused("expression_too_long", f"must have at most {LENGTH_MAX} characters, has {len(text)}")
    code = _STRINGS.sub('""', text)
    _check_cost(code)
    _check_names(code)
    try:
        program = _compiled(text)
    except ValueError as error:
        raise _refused("expression_invalid", f"cannot be read: {_first_line(error)}") from None
    _try(program)


def holds(text: str, seen: Seen) -> bool:
    """Evaluate an expression over what `seen_of` made of a body. Raises Failed."""
    began = time.thread_time()
    try:
        answer = _compiled(text).execute(seen)
    except KeyError as error:
        raise Failed(f"the body has no {error.args[0] if error.args else 'such field'}") from None
    except TROUBLES as error:
        raise Failed(_first_line(error)) from None
    spent_ms = (time.thread_time() - began) * 1000
    if spent_ms > TRIAL_MAX_MS:
        raise Failed(f"it took {spent_ms:.0f} ms, allowed are {TRIAL_MAX_MS:.0f}")
    if not isinstance(answer, bool):
        raise Failed(f"the answer is {type(answer).__name__}, not bool")
    return answer


def seen_of(body: bytes) -> Seen:
    """Make what expressions see of a body: `type`, `timestamp`, `data`; long lists and texts are cut."""
    return Seen(variables=_cut(orjson.loads(body), DEPTH_SEEN_MAX))


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value[:CHARACTERS_SEEN_MAX]
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_cut(one, depth - 1) for one in value[:ITEMS_SEEN_MAX]]
    if isinstance(value, dict):
        return {name: _cut(one, depth - 1) for name, one in islice(value.items(), NAMES_SEEN_MAX)}
    return value


@lru_cache(PROGRAMS_KEPT_MAX)
def _compiled(text: str) -> cel.Program:
    return cel.compile(text)


def _check_cost(code: str) -> None:
    """Refuse what could take long; `code` is the expression with its strings emptied."""
    if re.search(r"\bmatches\b", code):
        raise _refused("expression_too_costly", "must not use matches: use contains, startsWith or endsWith")
    if code.count("+") > PLUSES_MAX:
        raise _refused("expression_too_costly", f"must have at most {PLUSES_MAX} times +, has {code.count('+')}")
    macros = [found.end() for found in _MACRO.finditer(code)]
    if len(macros) > MACROS_MAX:
        message = f"must have at most {MACROS_MAX} of all, exists, exists_one, map and filter, has {len(macros)}"
        raise _refused("expression_too_costly", message)
    for start in macros:
        inner = code[start : _end_of(code, start)]
        if _MACRO.search(inner) or "+" in inner:
            message = "must not have all, exists, exists_one, map, filter or + within one of these"
            raise _refused("expression_too_costly", message)


def _end_of(code: str, start: int) -> int:
    """Find where the parenthesis that was opened before `start` is closed."""
    depth = 1
    for place in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[place], 0)
        if depth == 0:
            return place
    return len(code)


def _try(program: cel.Program) -> None:
    """Run a program on the largest body. What its fields, metadata or items lack may be there another time."""
    began = time.thread_time()
    try:
        answer = program.execute(_largest())
    except LookupError:
        answer = True
    except TROUBLES as error:
        raise _refused("expression_invalid", f"has no answer: {_first_line(error)}") from None
    if not isinstance(answer, bool):
        raise _refused("expression_invalid", f"must answer true or false, answers {type(answer).__name__}")
    spent_ms = (time.thread_time() - began) * 1000
    if spent_ms > TRIAL_MAX_MS:
        message = f"takes {spent_ms:.0f} ms over the largest body, at most {TRIAL_MAX_MS:.0f} ms are allowed"
        raise _refused("expression_too_costly", message)


@lru_cache(1)
def _largest() -> Seen:
    """Make what is seen of a body with as much of everything as is ever seen."""
    at, text, person = (
        datetime(2026, 1, 1, tzinfo=UTC),
        "x" * CHARACTERS_SEEN_MAX,
        bodies.Person(UUID(int=1), "x" * 200),
    )
    identity: Any = UUID(int=1)
    known: dict[str, Any] = {
        "activity_id": identity, "logged_activity_id": identity, "scheduled_activity_id": identity,
        "business_id": identity, "version": 1, "type": "call", "type_id": identity, "type_name": text,
        "recorded_at": at, "occurred_at": at, "logged_at": at, "completed_at": at, "due_at": at, "retracted_at": at,
        "subject": text, "summary": text, "direction": "inbound", "duration_min": 1, "location": text, "actor": person,
        "logged_by": person, "completed_by": person, "source": text, "source_kind": "external", "source_ref": text,
        "url": text, "links": [bodies.Link("contact", identity, text, False)] * ITEMS_SEEN_MAX, "appends_count": 500,
        "truncated": False, "privacy": "private", "participants": [person] * ITEMS_SEEN_MAX, "notes": text,
        "first_message": text,
        "fields": {str(n): [text] * 2 for n in range(ITEMS_SEEN_MAX)}, "attachments": [text] * ITEMS_SEEN_MAX,
        "metadata": {str(n): text for n in range(ITEMS_SEEN_MAX)},
        "append": bodies.Addition(identity, "note", at, person, text, {}, text),
    }  # fmt: skip
    return seen_of(msgspec.json.encode(bodies.WebhookBody("activity.logged", at, bodies.Data(**known))))


def _check_names(code: str) -> None:
    """Refuse fields of the body that do not exist."""
    where, known = _DATA
    for found in where.finditer(code):
        if found[1] not in known:
            raise _refused("expression_invalid", f"names {found[0]}, which the body does not have")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:MESSAGE_MAX]


def _refused(code: str, message: str) -> Rejected:
    return Rejected(f"{FIELD} {message}", [Problem(FIELD, code, message)])
