"""The AsyncAPI 3.0 document of all topics, made from their shapes."""

from typing import Any

from libs.contracts.schemas import release_number, schema_of
from libs.contracts.topics import TOPICS, Topic

HEADERS = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source"],
    "properties": {
        "ce_specversion": {"const": "1.0", "description": "CloudEvents 1.0, binary mode"},
        "ce_id": {"type": "string", "format": "uuid", "description": "the same fact always has the same id"},
        "ce_type": {"type": "string", "description": "what happened"},
        "ce_source": {"type": "string", "description": "the service that says it"},
        "ce_version": {"type": "string", "description": "the version of the subject, where it has one: 1, 2, 3 …"},
        "traceparent": {"type": "string", "description": "W3C trace context, when tracing is on"},
    },
}
KEY = {"type": "string", "description": "business/subject; partition = CRC-32 of the key modulo the partitions"}


def document() -> dict[str, Any]:
    """Describe every topic: its key, its types, its value, how long it is kept."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for topic in TOPICS:
        schema = _with_shared_parts(schema_of(topic), schemas)
        schemas[topic.model.__name__] = schema
        for event_type in topic.types:
            messages[event_type] = _message(event_type, topic)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Activities",
            "version": str(release_number()),
            "description": "What the services say to each other. Consumers ignore fields and types they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            f"hear {topic.name}": {"action": "receive", "channel": {"$ref": f"#/channels/{topic.name}"}}
            for topic in TOPICS
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def kept(topic: Topic) -> str:
    """Say how long a topic keeps its records."""
    return "the latest of each key, for good" if topic.kept_days is None else f"{topic.kept_days} days"


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Kept: {kept(topic)}.",
        "messages": {event_type: {"$ref": f"#/components/messages/{event_type}"} for event_type in topic.types},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": ["compact" if topic.kept_days is None else "delete"]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(event_type: str, topic: Topic) -> dict[str, Any]:
    return {
        "name": event_type,
        "summary": (topic.model.__doc__ or "").split("\n", 1)[0],
        "headers": HEADERS,
        "payload": {"$ref": f"#/components/schemas/{topic.model.__name__}"},
        "bindings": {"kafka": {"key": KEY, "bindingVersion": "0.5.0"}},
    }


def _with_shared_parts(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions that a schema brings to the document's, and point there."""
    for name, part in schema.pop("$defs", {}).items():
        schemas[name] = _pointed(part)
    whole: dict[str, Any] = _pointed(schema)
    return whole


def _pointed(part: Any) -> Any:
    if isinstance(part, list):
        return [_pointed(each) for each in part]
    if isinstance(part, dict):
        return {word: _pointed(each) for word, each in part.items()}
    return part.replace("#/$defs/", "#/components/schemas/") if isinstance(part, str) else part
