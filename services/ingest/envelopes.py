"""Reports in CloudEvents 1.0: binary (attributes in headers), structured and batched (attributes beside the data).

`source` and `id` become the report's `source` and `source_ref` unless the data says them itself; where both say
something else, that is refused. `type` is `activity.report`, which may be prefixed: `com.acme.activity.report`. `time`
is when a `log` or `complete` happened, where the data does not say; as part of the envelope it does not count for "the
same body". Extension attributes are passed over.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

import orjson
from pydantic_core import PydanticCustomError

from libs.errors import Malformed, Problem, Rejected
from services.ingest import reading
from services.ingest.reports import read_instant

TYPE = "activity.report"
SPEC_VERSION = "1.0"
REQUIRED = ("specversion", "id", "source", "type")

_CLOUD = b"application/cloudevents"
_BATCH = b"application/cloudevents-batch"

Mode = Literal["plain", "binary", "structured", "batched"]
Headers = Iterable[tuple[bytes, bytes]]


class Sent(NamedTuple):
    """A report's JSON value, and when its envelope says that it happened."""

    value: Any
    happened_at: datetime | None = None


def mode_of(headers: Headers) -> Mode:
    """Tell how a request carries what it says."""
    mode: Mode = "plain"
    for name, content in headers:
        if name == b"content-type":
            kind = content[:40].lower()
            if kind.startswith(_CLOUD):
                return "batched" if kind.startswith(_BATCH) else "structured"
        elif name.startswith(b"ce-"):
            mode = "binary"
    return mode


def read_request(headers: Headers, body: bytes) -> Sent:
    """Read a report however a request carries it. Raises Rejected, which names the attribute or field."""
    mode = mode_of(headers)
    if mode == "plain":
        return Sent(reading.read_report(body))
    if mode == "batched":
        raise Malformed("a batch of CloudEvents goes to /ingest/activities/bulk")
    if mode == "structured":
        return read_structured(body)
    attributes: dict[str, str] = {}
    for name, content in headers:
        if name == b"content-type":
            attributes["datacontenttype"] = content.decode("latin-1")
        elif name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if attribute in attributes:
                raise _refused([Problem(f"ce-{attribute}", "twice", "stands twice in the headers")])
            attributes[attribute] = _percent_decoded(attribute, content)
    return _open(attributes, body, "ce-")


def read_record(headers: Sequence[tuple[str, bytes | None]], value: bytes) -> Sent:
    """Read a report however a Kafka record carries it. Raises Rejected."""
    texts = {name.lower(): (content or b"").decode(errors="replace") for name, content in headers}
    kind = texts.get("content-type", "")
    if kind.lower().startswith(_CLOUD.decode()):
        return read_structured(value)
    attributes = {name[3:]: normalize("NFC", text) for name, text in texts.items() if name.startswith("ce_")}
    if not attributes:
        return Sent(reading.read_report(value))
    return _open({**attributes, "datacontenttype": kind}, value, "ce_")


def read_structured(text: bytes) -> Sent:
    """Read a CloudEvent that is one JSON document. Raises Rejected."""
    event = reading.read_report(text)
    if not isinstance(event, dict):
        raise Malformed("a CloudEvent is a JSON object")
    data = event.get("data")
    if "data_base64" in event:
        if data is not None:
            raise _refused([Problem("data_base64", "exclusive", "give data or data_base64, not both")])
        data = reading.read_report(_base64_decoded(event["data_base64"]))
    attributes = {name: content for name, content in event.items() if name not in ("data", "data_base64")}
    return _merge(attributes, data, "")


def lines_of(events: Any) -> list[tuple[int, bytes]]:
    """Number the events of a batch from 1, each as its JSON. Raises Malformed, TooLarge."""
    if not isinstance(events, list):
        raise Malformed("a batch of CloudEvents is a JSON array")
    reading.check_count(len(events))
    return [(number, orjson.dumps(event)) for number, event in enumerate(events, 1)]


def _open(attributes: Mapping[str, str], body: bytes, prefix: str) -> Sent:
    return _merge(attributes, reading.read_report(body), prefix)


def _merge(attributes: Mapping[str, Any], data: Any, prefix: str) -> Sent:
    """Put attributes and data together into the report they are. Raises Rejected with every problem."""
    problems = [Problem(f"{prefix}{name}", code, message) for name, code, message in _check(attributes)]
    happened_at = None
    if attributes.get("time") is not None:
        try:
            happened_at = read_instant(attributes["time"])
        except PydanticCustomError as error:
            problems.append(Problem(f"{prefix}time", error.type, error.message()))
    if not isinstance(data, dict):
        problems.append(Problem("data", "required", "must be the report, a JSON object"))
    else:
        problems += _contradictions(attributes, data, prefix)
    if problems:
        raise _refused(problems)
    return Sent({**data, "source": attributes["source"], "source_ref": attributes["id"]}, happened_at)


def _contradictions(attributes: Mapping[str, Any], data: Mapping[str, Any], prefix: str) -> Iterable[Problem]:
    for name, field in (("source", "source"), ("id", "source_ref")):
        said, told = attributes.get(name), data.get(field)
        if said is not None and told is not None and said != told:
            message = f"is {repr(said)[:120]}, and {field} is {repr(told)[:120]} in the data"
            yield Problem(f"{prefix}{name}", "contradiction", message)


def _check(attributes: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    for name in REQUIRED:
        if attributes.get(name) in (None, ""):
            yield name, "required", "is required of a CloudEvent"
        elif not isinstance(attributes[name], str):
            yield name, "string_type", "must be text"
    version, kind = attributes.get("specversion") or SPEC_VERSION, attributes.get("type") or TYPE
    if version != SPEC_VERSION:
        yield "specversion", "unknown_version", f"is {repr(version)[:120]}; {SPEC_VERSION} is taken"
    if kind != TYPE and not str(kind).endswith(f".{TYPE}"):
        yield (
            "type",
            "unknown_type",
            f"is {repr(kind)[:120]}; taken is {TYPE}, also as com.acme.{TYPE}",
        )
    media = str(attributes.get("datacontenttype") or "application/json").split(";", 1)[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        yield "datacontenttype", "unsupported_media_type", f"is {repr(media)[:120]}; application/json is taken"


def _percent_decoded(attribute: str, content: bytes) -> str:
    """Decode an attribute of a header (CloudEvents HTTP binding, 3.1.3.2)."""
    try:
        return normalize("NFC", unquote_to_bytes(content).decode())
    except UnicodeDecodeError:
        raise _refused([Problem(f"ce-{attribute}", "malformed", "is not percent-encoded UTF-8")]) from None


def _base64_decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _refused([Problem("data_base64", "malformed", "is not base64")]) from None


def _refused(problems: Sequence[Problem]) -> Rejected:
    return Rejected("the CloudEvent is not acceptable", problems)
