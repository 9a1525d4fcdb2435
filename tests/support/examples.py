"""Examples of operations as `/docs` shows them: recorded from real requests and answers, with invented ids and times.

WRITE_EXAMPLES=1 ./activities test tests/e2e/test_access_matrix.py
"""

import os
import re
from pathlib import Path
from typing import Any

import httpx
import orjson

ROOT = Path(__file__).parents[2]
WRITE = os.environ.get("WRITE_EXAMPLES") == "1"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIDY = (
    (re.compile(r"(spare_)?canary[0-9a-f]{10}"), "Sample"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "2026-03-02T09:30:00Z"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:8080"),
    (re.compile(r"(?<![-0-9a-f])[a-z]*[-_ ]?[0-9a-f]{12}\b"), "sample"),
)
INSTEAD = {
    "api_key": "act_sample_shown-once", "token": "mem_sample_shown-once", "secret": "whsec_shown-once",
    "next": "cursor-of-the-next-page", "hash": "sha-256-in-hex",
}  # fmt: skip
"""What is written for values that are secret or opaque, by the name of their field."""
ROWS_MAX = 2


def tidy(text: str) -> str:
    """Replace what differs from run to run: ids in the order in which they come, times, secrets."""
    seen: dict[str, str] = {}
    text = UUID.sub(lambda found: seen.setdefault(found[0], f"0190a6de-0000-7000-8000-{len(seen) + 1:012d}"), text)
    for pattern, instead in TIDY:
        text = pattern.sub(instead, text)
    return text


def example_of(answer: httpx.Response) -> dict[str, Any]:
    """Make the example of one exchange."""
    request = answer.request
    found: dict[str, Any] = {"status": answer.status_code}
    if request.content:
        found["type"] = request.headers["content-type"].partition(";")[0]
        found["body"] = _body(found["type"], request.content)
    if answer.content:
        found["answer_type"] = answer.headers["content-type"].partition(";")[0]
        found["answer"] = _body(found["answer_type"], answer.content)
    return found


def _body(media_type: str, content: bytes) -> Any:
    text = tidy(content.decode())
    is_json = media_type.endswith("json") and media_type != "application/x-ndjson"
    return _shorten(orjson.loads(text)) if is_json else text


def _shorten(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shorten(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_shorten(each) for each in (value[:ROWS_MAX] if name == "results" else value)]
    return INSTEAD.get(name, value) if isinstance(value, str) else value


def write(package: str, operation: str, example: dict[str, Any]) -> None:
    """Keep an example."""
    path = ROOT / "services" / package / "examples.json"
    kept = orjson.loads(path.read_bytes()) if path.exists() else {}
    kept[operation] = example
    text = orjson.dumps(kept, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    path.write_bytes(text)


def is_like(described: dict[str, Any], real: dict[str, Any]) -> bool:
    """Say whether an operation's example has the fields of a real answer, in the rows of its list too."""
    content = described["responses"].get(str(real["status"]), {}).get("content", {})
    shown = content.get(real.get("answer_type"), {}).get("example")
    return _fields(shown) == _fields(real.get("answer")) and (
        None in (rows := (_rows(shown), _rows(real.get("answer")))) or rows[0] == rows[1]
    )


def _fields(value: Any) -> Any:
    return sorted(key for key in value if not UUID.fullmatch(key)) if isinstance(value, dict) else type(value)


def _rows(value: Any) -> list[str] | None:
    rows = value.get("results") if isinstance(value, dict) else None
    return sorted(rows[0]) if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
