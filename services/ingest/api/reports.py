"""Reports in, receipts out."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any
from unicodedata import normalize
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from libs.access import Principal, may
from libs.contracts.ids import receipt_id_of
from libs.errors import Conflict, NotFound, Problem, Rejected
from libs.service.answers import json_answer, preferred
from libs.service.clock import now
from libs.service.http import PREFERRING, DatabaseDep, takes
from libs.service.strict_json import read_json
from libs.turns import take_turn
from services.ingest import domain, envelopes, metrics, reading
from services.ingest.domain import Arrival, Report, Verdict
from services.ingest.envelopes import Sent
from services.ingest.gather import Gather
from services.ingest.reports import BODY, REF_MAX, SOURCE_MAX
from services.ingest.store import reports as store

CHUNK_LINES = 1_000
SLICE_LINES = 25
"""Lines read before others get their turn: about 1 ms, so that single reports stay quick beside bulks."""

EVENT = {
    "title": "CloudEvent", "type": "object", "required": list(envelopes.REQUIRED), "additionalProperties": True,
}  # fmt: skip
"""What a CloudEvent is to OpenAPI."""

Writer = Annotated[Principal, Depends(may("ingest.write"))]
Reader = Annotated[Principal, Depends(may("ingest.read"))]
Line = tuple[int, bytes]


def router_of(gather: Gather) -> APIRouter:
    """Make the routes, which keep reports through `gather`."""
    router = APIRouter()
    schema = BODY.json_schema(ref_template="#/components/schemas/{model}")
    router.add_api_route(
        "/ingest/activities",
        takes(PREFERRING)(partial(report_activities, gather)),
        methods=["POST"], status_code=202, name="report_activities",
        openapi_extra={"requestBody": {"required": True, "content": {
            "application/json": {"schema": schema}, "application/cloudevents+json": {"schema": EVENT},
        }}},
    )  # fmt: skip
    router.add_api_route(
        "/ingest/activities/bulk",
        partial(report_bulk, gather),
        methods=["POST"], name="report_bulk",
        openapi_extra={"requestBody": {"content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": EVENT}},
        }}},
    )  # fmt: skip
    router.add_api_route("/ingest/receipts", find_receipt, methods=["GET"])
    router.add_api_route("/ingest/receipts/{receipt_id}", get_receipt, methods=["GET"])
    return router


async def report_activities(gather: Gather, request: Request, database: DatabaseDep, principal: Writer) -> Response:
    """Accept one report, by itself or as a CloudEvent: durably, once, and it will be answered."""
    arrival = Arrival(principal.business_id, now())
    report = domain.accept(arrival, *envelopes.read_request(request.scope["headers"], await request.body()))
    verdict = await gather.keep_one(database, arrival, report)
    problem = domain.problem_of(verdict, report)
    if verdict.kind == "different_body":
        raise Conflict(problem.message, problem.code, f"/ingest/receipts/{verdict.receipt_id}")
    if verdict.kind == "too_many_sources":
        raise Rejected(problem.message, [problem], problem.code)
    answer = {"receipt_id": verdict.receipt_id, "activity_id": verdict.activity_id, "status": verdict.status}
    return preferred(request, json_answer(answer, 202 if verdict.kind == "accepted" else 200))


async def report_bulk(gather: Gather, request: Request, database: DatabaseDep, principal: Writer) -> Response:
    """Accept what is good of many reports, one a line or a batch of CloudEvents, and say what became of each.

    1,000 lines are one transaction. When one fails the whole request does, with 503 or 429; sent again, the lines
    that were kept before are duplicates.
    """
    arrival = Arrival(principal.business_id, now())
    lines, read = await _lines_of(request)
    results: list[dict[str, Any]] = []
    for start in range(0, len(lines), CHUNK_LINES):
        chunk = await _read_lines(arrival, lines[start : start + CHUNK_LINES], read)
        reports = [report for _, report in chunk if isinstance(report, Report)]
        verdicts = iter(await gather.keep_many(database, arrival, reports) if reports else [])
        results += [
            _result(number, each, next(verdicts)) if isinstance(each, Report) else _rejected(number, each)
            for number, each in chunk
        ]
    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    for result in results:
        counts[result["status"]] += 1
    return json_answer({**counts, "results": results})


async def get_receipt(receipt_id: UUID, database: DatabaseDep, principal: Reader) -> Response:
    """Say what became of a report."""
    async with database.transaction(principal) as tx:
        receipt = await store.find_receipt(tx, principal.business_id, receipt_id)
    if receipt is None:
        raise NotFound(f"there is no receipt {receipt_id}")
    answer: dict[str, Any] = {
        "receipt_id": receipt.receipt_id,
        "activity_id": receipt.activity_id,
        "status": domain.status_of(receipt.outcome, receipt.received_at, now()),
    }
    if receipt.version is not None:
        answer["version"] = receipt.version
    return json_answer({**answer, "reasons": orjson.Fragment(receipt.reasons or b"[]")})


async def find_receipt(
    source: Annotated[str, Query(min_length=1, max_length=SOURCE_MAX)],
    source_ref: Annotated[str, Query(min_length=1, max_length=REF_MAX)],
    database: DatabaseDep,
    principal: Reader,
) -> Response:
    """Say what became of the report that a source calls `source_ref`."""
    names = normalize("NFC", source), normalize("NFC", source_ref)
    return await get_receipt(receipt_id_of(principal.business_id, *names), database, principal)


async def _lines_of(request: Request) -> tuple[list[Line], Callable[[bytes], Sent]]:
    """Number the reports of a request, and say how each is read. Raises Malformed, TooLarge."""
    body = await request.body()
    if envelopes.mode_of(request.scope["headers"]) == "batched":
        events = await asyncio.to_thread(read_json, body)
        return envelopes.lines_of(events), envelopes.read_structured
    return list(reading.split_lines(body)), _read_plain


def _read_plain(line: bytes) -> Sent:
    return Sent(reading.read_report(line))


async def _read_lines(
    arrival: Arrival, lines: Sequence[Line], read_line: Callable[[bytes], Sent]
) -> list[tuple[int, Report | Rejected]]:
    """Read and check lines in slices, giving way between them."""
    read: list[tuple[int, Report | Rejected]] = []
    for start in range(0, len(lines), SLICE_LINES):
        for number, line in lines[start : start + SLICE_LINES]:
            try:
                read.append((number, domain.accept(arrival, *read_line(line))))
            except Rejected as error:
                read.append((number, error))
        await take_turn()
    return read


def _result(number: int, report: Report, verdict: Verdict) -> dict[str, Any]:
    answer = {"line": number, "status": verdict.kind, "activity_id": str(verdict.activity_id)}
    if verdict.kind == "too_many_sources":
        return {"line": number, "status": "rejected", "errors": _shown([domain.problem_of(verdict, report)])}
    answer["receipt_id"] = str(verdict.receipt_id)
    if verdict.kind == "different_body":
        return {**answer, "status": "rejected", "errors": _shown([domain.problem_of(verdict, report)])}
    return answer


def _rejected(number: int, error: Rejected) -> dict[str, Any]:
    metrics.REPORTS.labels("rejected").inc()
    problems = error.problems or (Problem("body", error.code, error.message),)
    return {"line": number, "status": "rejected", "errors": _shown(problems)}


def _shown(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"field": p.field, "code": p.code, "message": p.message} for p in problems]
