"""A report as a CloudEvent: the same report, so the same answer, however it is wrapped."""

import random
from typing import Any
from uuid import uuid4

import orjson

Wrapped = tuple[bytes, dict[str, str]]


def wrap(report: dict[str, Any], chance: random.Random) -> Wrapped:
    """Write a report plainly, or one in three times as a CloudEvent: attributes in headers, or beside the data."""
    draw = chance.random()
    if draw < 0.67:
        return orjson.dumps(report), {}
    data = {name: value for name, value in report.items() if name not in ("source", "source_ref")}
    attributes = {
        "specversion": "1.0", "type": "com.faults.activity.report", "source": report["source"],
        "id": report["source_ref"], "traceid": uuid4().hex,
    }  # fmt: skip
    if draw < 0.84:
        return orjson.dumps(data), {f"ce-{name}": value for name, value in attributes.items()}
    whole = {**attributes, "datacontenttype": "application/json", "data": data}
    return orjson.dumps(whole), {"content_type": "application/cloudevents+json"}


def wrap_all(reports: list[dict[str, Any]], chance: random.Random) -> Wrapped:
    """Write several: a line each, or one in three times as a batch of CloudEvents."""
    if chance.random() < 0.67:
        return b"\n".join(map(orjson.dumps, reports)), {"content_type": "application/x-ndjson"}
    events = [
        {
            "specversion": "1.0", "type": "activity.report", "source": each["source"], "id": each["source_ref"],
            "data": {name: value for name, value in each.items() if name not in ("source", "source_ref")},
        }
        for each in reports
    ]  # fmt: skip
    return orjson.dumps(events), {"content_type": "application/cloudevents-batch+json"}
