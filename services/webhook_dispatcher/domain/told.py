"""What others were told, judged for one endpoint: whether it would have been told, and in which form."""

from typing import Any, Literal

import orjson

from services.webhook_dispatcher.domain import expressions
from services.webhook_dispatcher.domain.subscriptions import Subscriber

Verdict = Literal["told", "thin", "passed", "unknown"]
"""told: as it is; thin: in its thin form; passed: its filter keeps it away; unknown: the body does not say enough."""


def judge(subscriber: Subscriber, event_type: str, body: bytes) -> Verdict:
    """Judge a body that another endpoint was told, by the endpoint's filter of now. A thin body names no source, no
    links and no texts: what asks for them, or wants a full body, cannot be told by it.
    """
    if not event_type.startswith("activity."):
        return "told"
    data: dict[str, Any] = orjson.loads(body)["data"]
    wanted = subscriber.activity_objects
    if wanted and not wanted & {data["type"], data["type_id"]}:
        return "passed"
    asks = subscriber.sources or subscriber.record_objects or subscriber.expression
    if "links" not in data:
        return "unknown" if asks or not subscriber.thin else "told"
    if asks and not _passes(subscriber, data, body):
        return "passed"
    return "thin" if subscriber.thin else "told"


def _passes(subscriber: Subscriber, data: dict[str, Any], body: bytes) -> bool:
    if subscriber.sources and data["source"] not in subscriber.sources:
        return False
    objects = subscriber.record_objects
    if objects and not objects & {link["object"] for link in data["links"]}:
        return False
    if not subscriber.expression:
        return True
    try:
        return expressions.holds(subscriber.expression, expressions.seen_of(body))
    except expressions.Failed:
        return False
