"""The description of routes: errors as they are answered, and shapes that follow from examples."""

from typing import Any

import pytest

from libs.service.openapi import describe, merge, schema_of
from libs.service.process import Process
from services import NAMES
from services.__main__ import create


def _document(path: str = "/api/things/{id}") -> dict[str, Any]:
    operation = {"responses": {"201": {"description": "Done"}, "422": {"description": "FastAPI's own"}}}
    return {"paths": {path: {"post": operation}}, "components": {"schemas": {"HTTPValidationError": {}}}}


def test_an_operation_names_the_errors_it_answers_in_their_shape() -> None:
    described = describe(_document(), {}, {})
    responses = described["paths"]["/api/things/{id}"]["post"]["responses"]
    assert set(responses) == {"201", "400", "401", "403", "404", "409", "412", "413", "415", "422", "429", "503"}
    name = responses["422"]["$ref"].removeprefix("#/components/responses/")
    example = described["components"]["responses"][name]["content"]["application/problem+json"]["example"]
    assert (example["status"], example["errors"][0]["field"]) == (422, "name")
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_a_route_whose_invalid_requests_are_400_names_no_422() -> None:
    path = "/api/things/{id}"
    assert "422" not in describe(_document(), {}, {path: 400})["paths"][path]["post"]["responses"]


def test_account_activities_have_errors_of_their_own_shape() -> None:
    path = "/v1/accounts/activities/{id}"
    described = describe(_document(path), {}, {path: 400})
    name = described["paths"][path]["post"]["responses"]["404"]["$ref"].removeprefix("#/components/responses/")
    example = described["components"]["responses"][name]["content"]["application/json"]["example"]
    assert set(example) == {"statusCode", "message", "error"}


def test_an_example_gives_the_request_and_the_answer_and_the_answers_shape() -> None:
    example = {
        "type": "application/json", "body": {"name": "A"}, "status": 201, "answer_type": "application/json",
        "answer": {"id": "x", "n": 1, "parts": [{"ok": True}]},
    }  # fmt: skip
    operation = describe(_document(), {"POST /api/things/{id}": example}, {})["paths"]["/api/things/{id}"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"name": "A"}
    answer = operation["responses"]["201"]["content"]["application/json"]
    assert answer["example"] == example["answer"]
    properties = answer["schema"]["properties"]
    assert properties["n"] == {"type": ["integer", "null"]}
    assert properties["parts"]["items"]["properties"] == {"ok": {"type": ["boolean", "null"]}}


KEYED, PREFERRING, MATCHED = "Idempotency-Key", "Prefer", "If-Match"
READS = ("/search", "/responses", "/evaluate", "/badges")
"""Paths that are read by a POST."""
SECRET = {KEYED}
"""The answer shows a secret that no other shows: without a body it would be lost."""
BY_REF = {PREFERRING}
"""What is sent again is known by its own names: `source` and `source_ref`, or `interaction_id`."""
EXCEPTIONS: dict[str, set[str]] = {
    "post /api/directory/businesses": SECRET,
    "post /api/directory/api-keys": SECRET,
    "post /api/directory/api-keys/{key_id}/rotate": SECRET,
    "post /api/directory/members/{member_id}/tokens": SECRET,
    "post /api/webhooks/endpoints": SECRET,
    "post /api/webhooks/endpoints/{id}/secret/rotate": SECRET,
    "post /api/webhooks/listeners": SECRET,
    "post /ingest/activities": BY_REF,
    "post /ingest/interactions": BY_REF,
    "post /ingest/activities/bulk": set(),  # known by their names, too; the answer says which lines are refused
    "post /api/webhooks/listeners/{id}/poll": set(),  # takes what is there now, waiting for it
    "post /api/webhooks/endpoints/{id}/test": set(),  # keeps nothing: asked again it is to look again
}
UNVERSIONED = (
    "/tokens", "/api-keys/{key_id}", "/rotate", "/records/{object}", "/records/{object}/bulk", "/erase", "/skip",
    "/replays/{id}/cancel", "/deliveries/{id}/replay",
)  # fmt: skip
"""Ends of paths with a name in them that are about nothing with versions, or about all of it."""
VERSIONED = ("patch /api/directory/business", "post /api/webhooks/endpoints/{id}/secret/rotate")
"""Has versions although its path names nothing, or ends as others do."""


def _documents(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/none")
    monkeypatch.setenv("DATABASE_ROLES_SECRET", "secret-of-the-tests")
    monkeypatch.setenv("WEBHOOK_MASTER_KEY", "master-key-of-the-tests")
    return Process([create(name) for name in NAMES]).openapi()


def _wanted(operation: str) -> set[str]:
    wanted = EXCEPTIONS.get(operation, {KEYED, PREFERRING})
    matched = operation in VERSIONED or ("{" in operation and not operation.endswith(UNVERSIONED))
    return wanted | {MATCHED} if wanted and matched else wanted


def test_every_write_takes_the_headers_of_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    document = _documents(monkeypatch)
    said = document["components"]["parameters"]
    found, wrong = set(), {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "get" or path.endswith(READS) or path.startswith("/api/operations/"):  # twice is harmless
                continue
            name = f"{method} {path}"
            found.add(name)
            references = [each["$ref"].rpartition("/")[2] for each in operation.get("parameters", ()) if "$ref" in each]
            taken = {said[each]["name"] for each in references}
            if PREFERRING in taken and "200" in operation["responses"]:
                assert "204" in operation["responses"], f"{name} answers without a body where that is preferred"
            if taken != _wanted(name):
                wrong[name] = taken
    assert len(found) > 70
    assert wrong == {}
    assert {*EXCEPTIONS, *VERSIONED} <= found


def test_keys_that_are_ids_are_any_id() -> None:
    assert schema_of({"0190a6de-0000-7000-8000-000000000001": 6}) == {
        "type": ["object", "null"],
        "additionalProperties": {"type": ["integer", "null"]},
    }


def test_two_services_may_have_a_schema_of_the_same_name() -> None:
    def part(path: str, kind: str) -> dict[str, Any]:
        body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
        schemas = {"Body": {"type": kind}}
        return {"paths": {path: {"post": {"requestBody": body}}}, "components": {"schemas": schemas, "responses": {}}}

    whole: dict[str, Any] = {"paths": {}, "components": {"schemas": {}, "responses": {}}}
    merge(whole, part("/a", "object"), "first")
    merge(whole, part("/b", "array"), "second_one")
    body = whole["paths"]["/b"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/SecondOneBody"}
    assert whole["components"]["schemas"] == {
        "Body": {"type": "object"},
        "SecondOneBody": {"type": "array", "title": "SecondOneBody"},
    }
