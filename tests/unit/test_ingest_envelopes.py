"""Reports as CloudEvents: what the official library writes is read, and what is wrong names the attribute."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from libs.contracts.report import ReportReceived
from libs.errors import Malformed, Rejected
from services.ingest import domain, envelopes
from services.ingest.domain import Arrival
from services.ingest.envelopes import Sent

TIME = datetime(2026, 5, 4, 7, 5, tzinfo=UTC)
ARRIVAL = Arrival(UUID("0190a0b0-0000-7000-8000-000000000001"), TIME)
DATA = {"action": "log", "type": "call", "subject": "Zoë"}
ATTRIBUTES = {"specversion": "1.0", "id": "call-1", "source": "/phone/ü 1", "type": "com.acme.activity.report"}
PLAIN = {**DATA, "source": "/phone/ü 1", "source_ref": "call-1"}


def event(**more: Any) -> CloudEvent:
    return CloudEvent({**ATTRIBUTES, "time": TIME, "datacontenttype": "application/json", **more}, DATA)


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), content.encode("latin-1")) for name, content in headers.items()]


def binary(data: Any = DATA, **attributes: str | None) -> Sent:
    given = {
        f"ce-{name}": content
        for name, content in {**ATTRIBUTES, "source": "phone", **attributes}.items()
        if content is not None
    }
    media = given.pop("ce-datacontenttype", "application/json")
    return envelopes.read_request(raw({**given, "content-type": media}), orjson.dumps(data))


def problems_of(error: pytest.ExceptionInfo[Rejected]) -> set[tuple[str, str]]:
    return {(problem.field, problem.code) for problem in error.value.problems}


def test_what_the_library_writes_in_any_mode_is_the_same_report() -> None:
    form = JSONFormat()
    sent = [http.to_binary(event(), form), http.to_structured(event(), form)]
    read = [envelopes.read_request(raw(each.headers), each.body) for each in sent]
    batch = orjson.loads(b"[" + sent[1].body + b"]")
    read += [envelopes.read_structured(line) for _, line in envelopes.lines_of(batch)]
    for message in (kafka.to_binary(event(), form), kafka.to_structured(event(), form)):
        read.append(envelopes.read_record(list(message.headers.items()), message.value))
    assert read == [Sent(PLAIN, TIME)] * 5
    hashes = {domain.accept(ARRIVAL, *each).hash for each in [*read, Sent(PLAIN)]}
    assert len(hashes) == 1


def test_the_time_of_the_envelope_is_when_it_happened_unless_the_data_says() -> None:
    def occurred(sent: Sent) -> datetime | None:
        return ReportReceived.model_validate_json(domain.accept(ARRIVAL, *sent).value).report.occurred_at

    later = "2026-05-04T10:00:00+02:00"
    assert occurred(binary(time="2026-05-04T09:05:00+02:00")) == TIME
    assert occurred(binary(DATA | {"occurred_at": later}, time="2026-05-04T09:05:00Z")) == datetime(
        2026, 5, 4, 8, tzinfo=UTC
    )
    assert occurred(binary(DATA | {"action": "schedule"}, time="2026-05-04T09:05:00Z")) is None
    assert occurred(binary()) is None
    first, again = (domain.accept(ARRIVAL, *binary(time=f"2026-05-04T09:0{n}:00Z")) for n in (1, 2))
    assert first.hash == again.hash, "the envelope is no part of the body"


@pytest.mark.parametrize(
    ("attributes", "data", "problem"),
    [
        ({"id": None}, DATA, ("ce-id", "required")),
        ({"source": None}, DATA, ("ce-source", "required")),
        ({"type": None}, DATA, ("ce-type", "required")),
        ({"specversion": "0.3"}, DATA, ("ce-specversion", "unknown_version")),
        ({"type": "activity.created"}, DATA, ("ce-type", "unknown_type")),
        ({"type": "activity.report.v2"}, DATA, ("ce-type", "unknown_type")),
        ({"time": "yesterday"}, DATA, ("ce-time", "instant_invalid")),
        ({"datacontenttype": "text/xml"}, DATA, ("ce-datacontenttype", "unsupported_media_type")),
        ({"source": "%ff"}, DATA, ("ce-source", "malformed")),
        ({}, DATA | {"source": "else"}, ("ce-source", "contradiction")),
        ({}, DATA | {"source_ref": "else"}, ("ce-id", "contradiction")),
        ({}, [DATA], ("data", "required")),
        ({}, None, ("data", "required")),
    ],
)
def test_what_is_wrong_with_an_envelope_names_the_attribute(
    attributes: dict[str, str | None], data: Any, problem: tuple[str, str]
) -> None:
    with pytest.raises(Rejected) as error:
        binary(data, **attributes)
    assert problems_of(error) == {problem}


def test_all_problems_of_a_structured_event_are_told_at_once() -> None:
    whole = {"specversion": 1, "id": "", "type": "x", "time": 5, "data": DATA | {"source": "a"}}
    with pytest.raises(Rejected) as error:
        envelopes.read_structured(orjson.dumps(whole))
    assert {field for field, _ in problems_of(error)} == {"specversion", "id", "source", "type", "time"}


def test_data_may_say_source_and_ref_itself_and_extensions_are_passed_over() -> None:
    assert (
        binary(DATA | {"source": "phone", "source_ref": "call-1"}, traceparent="00-1", subject="s").value["source"]
        == "phone"
    )


def test_data_in_base64_is_read_and_nothing_but_base64() -> None:
    attributes = {**ATTRIBUTES, "data_base64": base64.b64encode(orjson.dumps(DATA)).decode()}
    assert envelopes.read_structured(orjson.dumps(attributes)) == Sent(PLAIN)
    for wrong in ({"data_base64": "***"}, {"data": DATA}):
        with pytest.raises(Rejected) as error:
            envelopes.read_structured(orjson.dumps(attributes | wrong))
        assert {field for field, _ in problems_of(error)} == {"data_base64"}


@pytest.mark.parametrize("text", [b"[]", b'"x"', b"{", b'{"id":"a","id":"b"}', b'{"id":"\\u0000"}', b"\x1f\x8b"])
def test_what_is_no_event_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        envelopes.read_structured(text)


def test_control_characters_do_not_come_in_through_headers() -> None:
    with pytest.raises(Rejected):
        domain.accept(ARRIVAL, *binary(source="a%00b"))
    twice = raw({f"ce-{name}": "a" for name in ATTRIBUTES} | {"content-type": "application/json"})
    with pytest.raises(Rejected, match="CloudEvent"):
        envelopes.read_request([*twice, (b"ce-id", b"b")], orjson.dumps(DATA))


def test_kafka_headers_may_be_in_any_case_and_absent() -> None:
    headers = [(f"ce_{name}", content.encode()) for name, content in ATTRIBUTES.items()]
    assert envelopes.read_record([*headers, ("other", None)], orjson.dumps(DATA)) == Sent(PLAIN)
    assert envelopes.read_record([], orjson.dumps(PLAIN)) == Sent(PLAIN)
