"""With tracing on, a report is one trace from its request to its webhook, whatever carries it in between."""

from collections.abc import AsyncIterator, Iterable, Iterator

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.sink import Sink
from tests.support.stage import Stage
from tests.support.system import Business, System, eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SERVICES = {"ingest", "lifecycle", "timeline-projector", "reporting", "webhook-dispatcher"}


@pytest.fixture
async def collector() -> AsyncIterator[Sink]:
    async with Sink.started() as sink:
        yield sink


@pytest.fixture
async def traced(stage: Stage, collector: Sink) -> AsyncIterator[System]:
    extra = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url(""), "OTEL_BSP_SCHEDULE_DELAY": "100"}
    yield await stage.have(extra={**extra, "OTEL_TRACES_SAMPLER_ARG": "0"})
    await stage.end()  # before its collector


def spans_of(collector: Sink) -> Iterator[tuple[str, Span]]:
    """All spans received, with the service that sent each."""
    for request in collector.requests:
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    yield names["service.name"], span


def ids_of(found: Iterable[tuple[str, Span]]) -> set[str]:
    """The spans that another may hang on: those found, and the caller's own."""
    return {span.span_id.hex() for _, span in found} | {CALLER}


async def _report(client: httpx.AsyncClient, business: Business, ref: str, **headers: str) -> None:
    answer = await client.post(
        "/ingest/activities",
        headers={**business.headers, **headers},
        json={"source": "phone", "source_ref": ref, "action": "log", "type": "call", "summary": "secret words",
              "links": [{"object": "contact", "external_ref": "c-1"}]},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text


async def test_a_report_is_one_trace_up_to_its_webhook(traced: System, collector: Sink) -> None:
    async with httpx.AsyncClient(base_url=traced.url, timeout=60) as client, Sink.started() as sink:
        business = await traced.make_business(client)
        made = await client.post(
            "/api/webhooks/endpoints",
            headers=business.headers,
            json={"url": sink.url("/hook"), "event_types": ["activity.logged"]},
        )
        assert made.status_code == 201, made.text
        await _report(client, business, "untraced")
        await _report(client, business, "traced", traceparent=f"00-{TRACE}-{CALLER}-01")

        def parents() -> list[str]:
            return [request.headers["traceparent"] for request in sink.requests if "traceparent" in request.headers]

        async def told() -> bool:
            return len(sink.requests) == 2

        async def collected() -> bool:
            found = list(spans_of(collector))
            hanging = {span.parent_span_id.hex() for _, span in found} | {each.split("-")[2] for each in parents()}
            return {service for service, _ in found} >= SERVICES and hanging <= ids_of(found)

        await eventually(told, 60, "both webhooks arrive", traced.tail)

        def seen() -> str:
            return f"sent so far: {sorted({(service, span.name) for service, span in spans_of(collector)})}"

        await eventually(collected, 60, "every service has sent its spans, and none hangs in the air", seen)
    assert len(parents()) == 1, "only the report that came with a trace goes on with it"
    assert parents()[0].startswith(f"00-{TRACE}-")
    assert {span.trace_id.hex() for _, span in spans_of(collector)} == {TRACE}
    assert b"secret words" not in b"".join(request.body for request in collector.requests)
