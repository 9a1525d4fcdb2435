"""The description of routes: errors as they are answered, and shapes that follow from examples."""

from typing import Any

import pytest

from libs.service.openapi import describe, merge, schema_of
from services.lifecycle import app as lifecycle
from services.lifecycle.settings import Settings


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


READS = ("/search", "/responses", "/evaluate")
"""Paths that are read by a POST."""


def test_every_write_of_activities_takes_the_headers_of_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/none")
    monkeypatch.setenv("DATABASE_ROLES_SECRET", "secret-of-the-tests")
    service = lifecycle.create(Settings())
    service.application()
    document = service.openapi()
    said = document["components"]["parameters"]
    missing = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "get" or path.endswith(READS) or path.startswith("/api/operations/"):
                continue
            references = [each["$ref"].rpartition("/")[2] for each in operation["parameters"] if "$ref" in each]
            wanted = {"Idempotency-Key", "Prefer"} | (
                {"If-Match"} if "{" in path and not path.endswith("/skip") else set()
            )
            if {said[name]["name"] for name in references} != wanted:
                missing.append(f"{method} {path}")
    assert len(document["paths"]) > 30
    assert missing == []


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
