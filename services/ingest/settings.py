"""The knobs that only ingest has."""

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from libs.messaging.floods import INBOUND
from libs.service.settings import ServiceSettings

_TOPIC = re.compile(rf"{re.escape(INBOUND)}[A-Za-z0-9._-]{{1,200}}")


def read_topics(text: Any) -> Any:
    """Read `<business id>=<topic>,...` as topics with the business that writes to each. Raises ValueError."""
    if not isinstance(text, str):
        return text
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        business_id, equals, topic = (part.strip() for part in pair.partition("="))
        if not equals or _TOPIC.fullmatch(topic) is None:
            raise ValueError(f"{pair!r} is not <business id>=<topic>, with a topic such as {INBOUND}.acme")
        if topic in found:
            raise ValueError(f"{topic} stands twice; a topic is for one business")
        found[topic] = business_id
    return found


class Settings(ServiceSettings):
    """Bounds on what one business may have in hand here, and the topics on which businesses send reports."""

    reports_pending_max: int = Field(200_000, ge=1)
    sources_max: int = Field(200, ge=1)
    inbound_topics: Annotated[dict[str, UUID], NoDecode, BeforeValidator(read_topics)] = Field(default_factory=dict)
