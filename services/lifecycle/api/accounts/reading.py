"""What a request of S2 says is read into an activity's content; all that is wrong with it is named at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.contracts import activity as contract
from libs.contracts.activity_object import ActivityObject
from libs.contracts.ids import uuid_of
from libs.database import Transaction
from libs.errors import Problem
from services.lifecycle import looking
from services.lifecycle.api.accounts.answers import PENDING, STATUSES, Records, camel, status_id_of
from services.lifecycle.api.accounts.bodies import ActivityBody, Participant
from services.lifecycle.api.bodies import FieldValue, Said
from services.lifecycle.api.callers import Caller
from services.lifecycle.api.references import Given, References
from services.lifecycle.domain import life
from services.lifecycle.domain import reports as rules
from services.lifecycle.domain.fields import NOTES, compiled_of
from services.lifecycle.domain.held import Link, Linked, Person
from services.lifecycle.domain.known import Known
from services.lifecycle.store import records
from services.lifecycle.store.accounts import ACCOUNT

REQUIRED = ("account_id", "activity_timestamp", "duration", "location")
NAMES = {"duration": "duration_min", "title": "subject", "description": "notes", "location": "location"}
"""Fields that are taken over as they are, with the names they have here."""
TYPE_DEFAULT = "call"
METADATA_MAX_BYTES = 64 << 10


class Reading:
    """One request's body, what it refers to, and what is wrong with it."""

    def __init__(self, caller: Caller, body: ActivityBody, known: Known, found: Records) -> None:
        self.known = known
        self.records = found
        self.problems: list[Problem] = []
        self.linked: Linked = {}
        self.asks = False
        self._caller = caller
        self._body = body

    def require(self, names: Iterable[str]) -> None:
        """Name the required fields that are missing or null among `names`."""
        for name in REQUIRED:
            if name in names and getattr(self._body, name) is None:
                self.problems.append(Problem(camel(name), "required", "is required"))

    def status(self, now: str = PENDING) -> str:
        """Read the status asked for, by value or id; `now` where none is."""
        given = self._body.status
        if given is None:
            return now
        ids = {str(status_id_of(self._caller.business_id, status)): status for status in STATUSES}
        status = ids.get(given.lower(), given.upper())
        if status not in STATUSES:
            message = f"{given[:100]!r} is not a status; there are {', '.join(STATUSES)}"
            self.problems.append(Problem("status", "does_not_exist", message))
        return status

    def kind(self, held: contract.Activity | None = None) -> ActivityObject | None:
        """Find the type asked for, by value or id; the one it has, else CALL, where none is."""
        given = self._body.type
        if given is None:
            return self.known.type_of(str(held.type_id) if held is not None else TYPE_DEFAULT)
        kind = self.known.type_of(_plain_id(given))
        for problem in rules.type_problems(kind, given, self.known):
            self.problems.append(Problem("type", problem.code, problem.message))
        return kind

    def content(self, names: Iterable[str], kind: ActivityObject | None, *, logging: bool) -> dict[str, Any]:
        """Take over the fields in `names`; as it is said here, `activityTimestamp` is when it happened or is due."""
        body, content = self._body, {}
        for name in set(names) & NAMES.keys():
            content[NAMES[name]] = getattr(body, name)
        if "activity_timestamp" in names:
            content |= times_of(body.activity_timestamp, logging=logging)
        if "participants" in names:
            content["participants"] = [self._person(place, each) for place, each in enumerate(body.participants or ())]
        if "attachment_urls" in names:
            content["attachments"] = body.attachment_urls or []
        if "metadata" in names:
            content["metadata"] = self._metadata()
        if "privacy" in names:
            content["privacy"] = (body.privacy or "PUBLIC").lower()
        if "type" in names and kind is not None:
            content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
        return content

    def own_values(
        self,
        content: dict[str, Any],
        kind: ActivityObject | None,
        held: contract.Activity | None,
        shown: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Take the values of the type's own fields out of the metadata, where they stand by their names.

        Those that are as they are `shown` are left out; null are those held that the metadata does not have any more.
        """
        if kind is None or "metadata" not in content:
            return {}
        metadata, before = content["metadata"], held.fields if held is not None else {}
        fields = {name: each for name, each in compiled_of(kind).fields.items() if name != NOTES}
        content["metadata"] = {name: value for name, value in metadata.items() if name not in fields}
        given = {name: metadata[name] for name in fields if name in metadata}
        gone = {name: None for name, each in fields.items() if name in before and not each.is_read_only}
        shown = before if shown is None else shown
        return {name: value for name, value in (gone | given).items() if value != shown.get(name)}

    async def check_fields(
        self, tx: Transaction, content: dict[str, Any], own: Mapping[str, Any], given: Given
    ) -> None:
        """Hold own values, and the description, which is the type's notes, to the type's fields; as S1 does."""
        references = References(self._caller, self.known, {})
        said = Said(notes=content.get(NOTES), fields=[FieldValue(id=name, value=own[name]) for name in own])
        names = [name for name, is_given in ((NOTES, NOTES in content), ("fields", bool(own))) if is_given]
        content |= await references.fields(tx, said, given._replace(names=names))
        self.linked, self.asks = references.linked, references.asks
        for problem in references.problems:
            name = problem.field.removeprefix("fields.")
            place = "description" if name == NOTES else f"metadata.{name}"
            self.problems.append(Problem(place, problem.code, problem.message))

    def links(self, kind: ActivityObject | None, held: contract.Activity | None) -> list[contract.Link]:
        """Link the account; links to other records stay as they are."""
        account_id = self._body.account_id
        others = [link for link in held.links if link.object != ACCOUNT] if held is not None else []
        links = [Link(object=ACCOUNT, record_id=account_id), *others]
        found = self.records.get(account_id) if account_id is not None else None
        if account_id is not None and (found is None or found[0] != ACCOUNT or found[2]):
            self.problems.append(Problem("accountId", "does_not_exist", f"{account_id} is not an account"))
        for problem in rules.link_problems(links, kind, self.known, one_each=False):
            self.problems.append(Problem("accountId", problem.code, problem.message))
        return links

    def check_kept(self, links: Sequence[contract.Link], kind: ActivityObject | None) -> None:
        """Check the records with which what is planned becomes COMPLETED."""
        named = kind.api_name if kind is not None else TYPE_DEFAULT
        advice = f"log it at POST /api/activities/{named}/log-activity with the one that it was about"
        for field, kept, what in (
            ("accountId", [link for link in links if link.object == ACCOUNT], "give the one that it was about"),
            ("status", [link for link in links if link.object != ACCOUNT], advice),
        ):
            for each in life.kept_problems(field, kept, what):
                self.problems.append(Problem(each.field, each.code, each.message))

    def _metadata(self) -> dict[str, Any]:
        metadata = self._body.metadata or {}
        if len(orjson.dumps(metadata)) > METADATA_MAX_BYTES:
            message = f"has more than {METADATA_MAX_BYTES} bytes as JSON"
            self.problems.append(Problem("metadata", "too_long", message))
        return metadata

    def _person(self, place: int, given: str | Participant) -> contract.Person:
        if isinstance(given, str):
            return self.known.person(_plain_id(given)) or Person(name=given)
        if given.id is None:
            member = self.known.members.get(given.email or "")
            if member is None:
                return Person(name=given.name or given.email, email=given.email)
            return Person(member_id=member.id, name=member.name)
        member = self.known.members.get(str(given.id))
        if member is None or not member.live:
            message = f"{given.id} is not a member of this business"
            self.problems.append(Problem(f"participants.{place}.id", "does_not_exist", message))
            return Person(member_id=given.id)
        return Person(member_id=member.id, name=member.name)


def times_of(at: datetime | None, *, logging: bool) -> dict[str, Any]:
    """Say when it happened (`logging`) or is due."""
    return {"occurred_at": at} if logging else {"due_at": at, "due_date": None}


async def read(tx: Transaction, caller: Caller, body: ActivityBody, beside: Iterable[UUID | None] = ()) -> Reading:
    """Look up what a body refers to; `beside` are ids of members and records that its answer shows."""
    people = {each for given in body.participants or () for each in _ids_of(given)}
    ids = {each for each in (*beside, body.account_id, caller.principal.user_id) if each is not None}
    known = await look_up(tx, caller, people | {str(each) for each in ids})
    return Reading(caller, body, known, await list_records(tx, caller, list(ids)))


async def list_records(tx: Transaction, caller: Caller, ids: Collection[UUID]) -> Records:
    """Find the records that the caller may know of."""
    standing = caller.principal.standing
    return await records.list_records(tx, caller.business_id, ids, standing.role_ids if standing is not None else None)


async def look_up(tx: Transaction, caller: Caller, people: Iterable[str] = ()) -> Known:
    """Look up the business, and people by id or mail address."""
    business_id = caller.business_id
    wanted = {(business_id, text) for text in people}
    return (await looking.look_up(tx, [business_id], wanted, caller.now))[business_id]


def _ids_of(given: str | Participant) -> list[str]:
    if isinstance(given, str):
        return [_plain_id(given)]
    return [str(each) for each in (given.id, given.email) if each is not None]


def _plain_id(text: str) -> str:
    """Write an id that may be a ULID as a UUID; other words stay."""
    try:
        return str(uuid_of(text)) if len(text) == 26 else text
    except ValueError:
        return text
