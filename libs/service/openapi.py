"""The description of a service's routes (OpenAPI 3.1): FastAPI's, with the errors as they are answered, and examples.

The examples are real answers, kept in `services/<package>/examples.json`; the shapes of answers follow from them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib.resources import files
from typing import Any

import orjson

from libs.service.problems import TITLES

ACCOUNTS = "/v1/"
"""Routes under it answer errors in the shape of account activities: `statusCode`, `message`, `error`."""
NAMING = (
    "/ingest/receipts",
    "/api/operations/",
    "/api/webhooks/replays",
    "/api/webhooks/stats",
    "/v1/accounts/activities",
)
"""Paths whose query or body names what may not be there."""
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("malformed", "the body is not JSON: unexpected character: line 1 column 1 (char 0)"),
    401: ("unauthenticated", "X-API-KEY or Authorization: Bearer is required"),
    403: ("missing_scope", "this key does not have the scope activities.write"),
    404: ("not_found", "there is no activity 0190a6de-0000-7000-8000-000000000001"),
    409: ("already_logged", "activity 0190a6de-0000-7000-8000-000000000001 is logged already"),
    412: ("stale", "the version is 3, not 2; read it again"),
    413: ("too_large", "the body is longer than 1048576 bytes"),
    415: ("media_type", "the body must be application/json, not text/plain"),
    422: ("invalid", "name: is required"),
    429: ("too_many", "more than 2000 requests/s; come again in 1 s"),
    503: ("unavailable", "the database does not answer"),
}
"""By status the code and the sentence of an example."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Document = dict[str, Any]


def read_examples(package: str) -> dict[str, Any]:
    """Read a service's examples by operation; none where it has no file."""
    file = files(f"services.{package}") / "examples.json"
    found: dict[str, Any] = orjson.loads(file.read_bytes()) if file.is_file() else {}
    return found


def describe(
    document: Document,
    examples: Mapping[str, Any],
    invalid: Mapping[str, int],
    written: Mapping[tuple[str, str], Collection[str]] | None = None,
) -> Document:
    """Complete FastAPI's description; `invalid`: by path the status of a request that is not valid.

    `written`: by operation (path, method) the headers of writes that it takes.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {"Problem": PROBLEM, "AccountsProblem": ACCOUNTS_PROBLEM}
    components["responses"] = dict(_errors())
    components["parameters"] = WRITE_HEADERS if written else {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                schemas |= body["schema"].pop("$defs", {})
            _complete(operation, path, method, invalid.get(path, 422))
            if written and (path, method) in written:
                more = [{"$ref": f"#/components/parameters/{name}"} for name in written[path, method]]
                operation["parameters"] = [*operation.get("parameters", ()), *more]
                if "Prefer" in written[path, method] and "200" in operation["responses"]:
                    operation["responses"].setdefault("204", {"description": "Done, with `Prefer: return=minimal`"})
            _illustrate(operation, examples.get(f"{method.upper()} {path}"))
    return document


def merge(whole: Document, part: Document, package: str) -> None:
    """Add a service's description to that of others; two schemas of one name become two names."""
    schemas = whole["components"]["schemas"]
    for name, schema in part["components"]["schemas"].items():
        if schemas.get(name, schema) != schema:
            longer = "".join(word.title() for word in package.split("_")) + name
            part = orjson.loads(orjson.dumps(part).replace(_ref(name), _ref(longer)))
            part["components"]["schemas"][longer] = part["components"]["schemas"].pop(name) | {"title": longer}
    whole["paths"] |= part["paths"]
    for kind in ("schemas", "responses", "parameters"):
        whole["components"].setdefault(kind, {}).update(part["components"].get(kind, {}))


def _ref(name: str) -> bytes:
    return b'"#/components/schemas/' + name.encode() + b'"'


def _complete(operation: Document, path: str, method: str, invalid: int) -> None:
    """Name the errors that it can answer."""
    operation["responses"].pop("422", None)
    found = {400, 401, 403, 429, 503, invalid}
    found |= {404} if "{" in path or path.startswith(NAMING) else set()
    found |= {409, 412, 413, 415} if method != "get" else set()
    kind = "Accounts" if path.startswith(ACCOUNTS) else ""
    operation["responses"] |= {
        str(status): {"$ref": f"#/components/responses/{kind}{_name(status)}"} for status in sorted(found)
    }


def _illustrate(operation: Document, example: Mapping[str, Any] | None) -> None:
    if example is None:
        return
    if "body" in example:
        body = operation.setdefault("requestBody", {"required": True, "content": {}})
        content = body["content"].setdefault(example["type"], {"schema": schema_of(example["body"])})
        content["example"] = example["body"]
    if "answer" in example:
        schema = schema_of(example["answer"])
        answer = {"schema": schema | {"type": schema["type"][0]}, "example": example["answer"]}  # never null itself
        operation["responses"].setdefault(str(example["status"]), {"description": "Done"})["content"] = {
            example["answer_type"]: answer
        }


def schema_of(value: Any) -> Document:
    """Say what a value is like, as JSON Schema. Anything may be null; keys that are ids may be any id."""
    if isinstance(value, dict):
        if value and all(UUID.fullmatch(key) for key in value):
            return {"type": ["object", "null"], "additionalProperties": schema_of(next(iter(value.values())))}
        return {"type": ["object", "null"], "properties": {name: schema_of(each) for name, each in value.items()}}
    if isinstance(value, list):
        return {"type": ["array", "null"], "items": schema_of(value[0]) if value else {}}
    kinds: tuple[tuple[type, str], ...] = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"))
    return next(({"type": [name, "null"]} for kind, name in kinds if isinstance(value, kind)), {})


def _errors() -> Iterator[tuple[str, Document]]:
    for status, (code, detail) in ERRORS.items():
        ours = {
            "type": "about:blank", "title": TITLES[status], "status": status, "detail": detail, "code": code,
            "request_id": "0190a6de-0000-7000-8000-0000000000ff", "errors": [],
        }  # fmt: skip
        if status in (400, 422):
            ours["errors"] = [{"field": "name", "code": "required", "message": "is required"}]
        yield _name(status), _error(status, "application/problem+json", "Problem", ours)
        theirs = {"statusCode": status, "message": detail, "error": TITLES[status]}
        yield f"Accounts{_name(status)}", _error(status, "application/json", "AccountsProblem", theirs)


def _error(status: int, media_type: str, schema: str, example: Document) -> Document:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"description": TITLES[status], "content": {media_type: content}}


def _name(status: int) -> str:
    return TITLES[status].title().replace(" ", "")


TEXT = {"type": "string"}


def _header(name: str, description: str, example: str) -> Document:
    return {"name": name, "in": "header", "schema": TEXT, "description": description, "example": example}


WRITE_HEADERS: Document = {
    "IdempotencyKey": _header(
        "Idempotency-Key",
        "A write sent again with its key within 7 days happens once and gets the first answer, but no secret again.",
        "k-1",
    ),
    "Prefer": _header("Prefer", "`return=minimal`: the answer comes without a body.", "return=minimal"),
    "IfMatch": _header("If-Match", "The ETag of the version that is meant; another one answers 412.", '"3"'),
}
"""Headers that writes take, each of them where it is given."""
PROBLEM: Document = {
    "type": "object",
    "description": "Problem details (RFC 9457); `errors` names every field and what is wrong with it.",
    "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
    "properties": {
        "type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "code": TEXT, "request_id": TEXT,
        "link": {**TEXT, "description": "what is in the way"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": TEXT, "code": TEXT, "message": TEXT}},
        },
    },
}  # fmt: skip
ACCOUNTS_PROBLEM: Document = {
    "type": "object",
    "required": ["statusCode", "message", "error"],
    "properties": {"statusCode": {"type": "integer"}, "message": {}, "error": TEXT},
}
