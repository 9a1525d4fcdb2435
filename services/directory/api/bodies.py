"""Bodies of requests about records."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from libs.service.body import Body, Line

FIELDS_MAX = 500

Ref = Annotated[str, Line(255)]
Name = Annotated[str, Line(500)]
Status = Annotated[str, Line(100)]
Fields = Annotated[dict[Annotated[str, Line(255)], Any], Field(max_length=FIELDS_MAX)]


class RecordBody(Body):
    """A whole record; what is not named is absent."""

    external_ref: Ref | None = None
    name: Name
    status: Status | None = None
    owner_id: UUID | None = None
    fields: Fields = Field(default_factory=dict)


class RecordPatch(Body):
    """What is to change about a record; what is not named stays, a field that is null goes away."""

    name: Name = ""
    status: Status | None = None
    owner_id: UUID | None = None
    fields: Fields = Field(default_factory=dict)
