"""Every operation of /openapi.json under generated input, good and bad: never a 5xx, every error in its form.

10 examples an operation here; more with the variable FUZZ_EXAMPLES, such as 2,000, which takes about two hours.
"""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.support.system import ONE_WAY, Business, System

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
PROBLEM = {"type", "title", "status", "detail", "code", "request_id", "errors"}
INSIDE = ("Traceback", "asyncpg", "aiokafka", 'File "', "SELECT ", "insert into")
WAIT_S = 30
OPERATORS = ("/api/directory/businesses", "/api/operations/")
ACCOUNTS = "/v1/"
PLAIN = {"statusCode", "message", "error"}


@schemathesis.serializer("application/x-ndjson")
def write_lines(_: SerializationContext, value: object) -> bytes:
    """Send a generated text as it is: mostly not lines of JSON."""
    return str(value).encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def operations(system: System) -> list[APIOperation]:
    schema = schemathesis.openapi.from_url(f"{system.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def _headers_of(operation: APIOperation, system: System, business: Business) -> dict[str, str]:
    if operation.path.startswith(OPERATORS):
        return {"X-API-KEY": system.operator_key}
    if operation.path.startswith(ACCOUNTS):
        path = f"{system.url}/api/directory/members/{business.user_id}/tokens"
        made = requests.post(path, headers=business.headers, json={}, timeout=WAIT_S)
        token = made.json()["token"]
        key = business.headers["X-API-KEY"]
        return {"X-API-KEY": key, "x-org-id": business.id, "Authorization": f"Bearer {token}"}
    return business.headers


def _judge(case: Case, answer: requests.Response | schemathesis.Response) -> None:
    case.validate_response(answer, checks=[not_a_server_error, status_code_conformance, response_schema_conformance])
    text = answer.content.decode()
    assert not any(word in text for word in INSIDE), text
    if answer.status_code >= 400 and case.operation.path.startswith(ACCOUNTS):
        assert answer.json().keys() == PLAIN, text
    elif answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"], text
        assert answer.json().keys() >= PROBLEM, text


def _fuzz(operation: APIOperation, mode: GenerationMode, system: System, headers: dict[str, str]) -> None:
    session = requests.Session()
    session.headers.update(headers)

    @settings(
        max_examples=EXAMPLES // 2, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: Case) -> None:
        for name in ("Authorization", "X-API-KEY"):
            case.headers.pop(name, None)
        _judge(case, case.call(base_url=system.url, session=session, timeout=WAIT_S))

    if mode is GenerationMode.POSITIVE:
        each()
    else:
        with suppress(Unsatisfiable):  # where everything that can be sent is allowed
            each()


def _modes(operation: APIOperation) -> Iterator[GenerationMode]:
    yield GenerationMode.POSITIVE
    if operation.body or operation.query or operation.path_parameters:
        yield GenerationMode.NEGATIVE


@ONE_WAY
@pytest.mark.timeout(7_200)
def test_no_operation_fails_whatever_it_is_sent(
    operations: list[APIOperation], system: System, business: Business
) -> None:
    assert len(operations) > 50
    for operation in operations:
        for mode in _modes(operation):
            _fuzz(operation, mode, system, _headers_of(operation, system, business))
