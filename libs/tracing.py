"""Traces from a report to its webhooks, over HTTP and Kafka headers (W3C Trace Context). Off unless set up.

Each service has a tracer of its own, also where several run in one process. Only what is sampled is passed on: an event
without a `traceparent` costs nothing anywhere. Within a transaction `Transaction.traces` says which event belongs to
which trace, by its key; what is put into the outbox goes on with it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""Imported where traces are sent: it brings an HTTP client along, and a process starts 0.06 s later."""
TRACED_PER_TRANSACTION_MAX = 10
"""So many events of one request carry its trace on; a bulk of thousands would be a trace that nobody can read."""

_W3C = TraceContextTextMapPropagator()
_processor: SpanProcessor | None = None
_ratio = 0.0


class Heard(Protocol):
    """A record of Kafka, as far as tracing looks at it."""

    topic: str
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def set_up(endpoint: str, ratio: float) -> None:
    """Send spans to an OTLP/HTTP collector at `endpoint` (such as http://127.0.0.1:4318); empty: trace nothing.

    `ratio` (0 to 1) of the traces that begin here are sampled; those that come with a `traceparent` say it themselves.
    """
    if endpoint:
        exporter = import_module(EXPORTER).OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        use(BatchSpanProcessor(exporter), ratio)


def use(processor: SpanProcessor | None, ratio: float) -> None:
    """Hand spans to a processor; None: trace nothing."""
    global _processor, _ratio
    _processor, _ratio = processor, ratio
    _tracer.cache_clear()


def stop() -> None:
    """Send what has not been sent yet."""
    if _processor is not None:
        _processor.shutdown()


def is_on() -> bool:
    """Tell whether anything is traced."""
    return _processor is not None


def current() -> str | None:
    """Give the `traceparent` of the span in hand, None when there is none or it is not sampled."""
    return _written(trace.get_current_span())


@contextmanager
def span(service: str, name: str, kind: Literal["server", "client"], parent: str | None = None) -> Iterator[None]:
    """Trace what is done inside as one span, below `parent` (a `traceparent`) or the span in hand."""
    above = _read(parent) if parent else context.get_current()
    with _tracer(service).start_as_current_span(name, above, SpanKind[kind.upper()]):
        yield


def note(name: str, **said: Any) -> None:
    """Name the span in hand once it is known what it is, and say more of it."""
    made = trace.get_current_span()
    made.update_name(name)
    made.set_attributes(_attributes(said))


@contextmanager
def handling(service: str, group: str, records: Sequence[Heard]) -> Iterator[dict[bytes, str]]:
    """Trace a batch: one span for each record that carries a trace. Gives the contexts for what follows, by key."""
    if _processor is None:
        yield {}
        return
    began = time.time_ns()
    spans = [_handled(service, group, record, parent, began) for record, parent in _traced(records)]
    traces = {key: text for key, made in spans if (text := _written(made)) is not None}
    try:
        yield traces
    except BaseException as error:
        for _, made in spans:
            made.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        for _, made in spans:
            made.end()


def traces_of(keys: Sequence[bytes], known: Mapping[bytes, str] | None) -> list[str | None] | None:
    """Name the trace that each event goes on with, None when no event has one.

    `known` are those of a transaction, by key; without them it is the span in hand, for the first 10 events.
    """
    if _processor is None:
        return None
    if known is not None:
        return [known.get(key) for key in keys] if known else None
    text = current()
    if text is None:
        return None
    return [text if place < TRACED_PER_TRANSACTION_MAX else None for place in range(len(keys))]


def _handled(service: str, group: str, record: Heard, parent: str, began: int) -> tuple[bytes, trace.Span]:
    said = {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.consumer.group.name": group,
    }
    made = _tracer(service).start_span(
        f"handle {record.topic}", _read(parent), SpanKind.CONSUMER, attributes=said, start_time=began
    )
    return record.key or b"", made


def _traced(records: Sequence[Heard]) -> Iterator[tuple[Heard, str]]:
    for record in records:
        for name, content in record.headers:
            if name == HEADER and content:
                yield record, content.decode("latin-1")


def _read(text: str) -> context.Context:
    return _W3C.extract({HEADER: text}, context.Context())


def _written(made: trace.Span) -> str | None:
    held = made.get_span_context()
    if not held.is_valid or not held.trace_flags.sampled:
        return None
    return f"00-{held.trace_id:032x}-{held.span_id:016x}-01"


def _attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in said.items() if value is not None}


@cache
def _tracer(service: str) -> Tracer:
    if _processor is None:
        return trace.NoOpTracer()
    provider = TracerProvider(
        ParentBased(TraceIdRatioBased(_ratio)),
        Resource({"service.name": service.replace("_", "-")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(_processor)
    return provider.get_tracer("activities")
