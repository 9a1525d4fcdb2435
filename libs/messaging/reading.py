"""From records to events: what is known by header is dropped, the rest decoded and checked, in slices."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.decoding import decoder_of, part_decoder_of
from libs.contracts.event import Event
from libs.contracts.ids import quick
from libs.contracts.topics import BY_NAME
from libs.database import Transaction
from libs.messaging.broker import Record
from libs.messaging.known import Key, Known
from libs.messaging.subscription import Subscription
from libs.turns import give_way

BUSINESSES_MAX = 10_000
SUBJECTS = ("activity", "interaction")
"""Where an event holds what it is about, if not itself."""
IDS = ("activity_id", "receipt_id")
"""What handlers use as keys, several times each."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that can never be handled, and why."""

    record: Record
    reason: str


class Heard(Protocol):
    """Whoever gets events; what it returns, it does not want after all."""

    @property
    def handler(self) -> Callable[[Transaction, Sequence[Any]], Awaitable[Sequence[Poison] | None]]:
        """Handle events in an open transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a batch holds: the events of each subscription, what is poison, how much was dropped by header.

    `versions`: of keys, and who is to know them once they are committed.
    """

    events: Sequence[tuple[Heard, list[Any]]]
    poison: list[Poison] = field(default_factory=list)
    duplicates: int = 0
    ignored: int = 0
    versions: Sequence[tuple[Known, Mapping[Key, int]]] = ()

    def committed(self) -> None:
        """Note that all events were handled, and that was committed."""
        for known, versions in self.versions:
            known.note(versions)


class Unreadable(ValueError):
    """The record is not the event that its headers and key say it is."""


class Reader:
    """Reads batches for the subscriptions of a service."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._shelves = [_Shelf(subscription) for subscription in subscriptions]
        self._by_topic: dict[str, dict[bytes, list[_Shelf]]] = {}
        for shelf in self._shelves:
            for topic in shelf.subscription.topics:
                for event_type in BY_NAME[topic].types:
                    self._by_topic.setdefault(topic, {}).setdefault(event_type.encode(), []).append(shelf)

    @property
    def topics(self) -> list[str]:
        """Name the topics that are heard."""
        return sorted(self._by_topic)

    def forget(self) -> None:
        """Forget which versions are known: partitions were assigned anew, perhaps to handle all of them again."""
        for shelf in self._shelves:
            shelf.forget()

    async def read(self, records: Sequence[Record]) -> Reading:
        """Sort and decode. A poisoned record does not hide an older or equal one that is sound."""
        poison: list[Poison] = []
        while True:
            guilty = {id(item.record) for item in poison}
            reading = await self._read(
                [record for record in records if id(record) not in guilty] if guilty else records
            )
            if not reading.poison:
                return replace(reading, poison=poison)
            poison += reading.poison

    async def _read(self, records: Sequence[Record]) -> Reading:
        poison: list[Poison] = []
        ignored = placed = 0
        by_topic = self._by_topic
        for record in records:
            headers = dict(record.headers)
            shelves = by_topic[record.topic].get(headers.get("ce_type") or b"")
            if shelves is None:
                if "ce_type" in headers:
                    ignored += 1
                else:
                    poison.append(Poison(record, "the header ce_type is missing"))
                continue
            try:
                version = int(headers["ce_version"] or b"") if "ce_version" in headers else None
            except (TypeError, ValueError):
                poison.append(Poison(record, f"the header ce_version is {headers['ce_version']!r}, not a number"))
                continue
            for shelf in shelves:
                shelf.place(record, version)
                placed += 1
        taken = [shelf.take() for shelf in self._shelves]
        events = [await shelf.decode(items, poison) for shelf, items in zip(self._shelves, taken, strict=True)]
        duplicates = placed - sum(map(len, taken))
        pairs = zip(self._shelves, events, strict=True)
        versions = [
            shelf.versions_of(items)
            for shelf, items in zip(self._shelves, taken, strict=True)
            if shelf.known is not None
        ]
        return Reading(
            [(shelf.subscription, found) for shelf, found in pairs if found],
            poison,
            duplicates,
            ignored,
            versions,
        )


class _Shelf:
    """The records of one subscription while a batch is read."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        model = subscription.model
        self._subject = next((name for name in SUBJECTS if name in model.model_fields), None)
        self._decode = (
            part_decoder_of(model, self._subject, subscription.only)
            if subscription.only and self._subject is not None
            else decoder_of(model)
        )
        self._business, self._ids = _names_of(model, self._subject)
        self._placed: dict[object, tuple[Record, int | None]] = {}
        self._businesses: dict[bytes, tuple[UUID, int]] = {}
        self.known: Known | None = None
        self.forget()

    def forget(self) -> None:
        """Know nothing. What has one topic comes once: there is nothing to be known of it."""
        self.known = Known() if self.subscription.latest and len(self.subscription.topics) > 1 else None

    def place(self, record: Record, version: int | None) -> None:
        """Put a record here, unless it is known by its key and version."""
        placed = self._placed
        if version is None:
            placed[id(record)] = record, None
        elif not self.subscription.latest:
            placed.setdefault((record.key, version), (record, version))
        elif self.known is None or not self.known.has(record.key, version):
            other = placed.get(record.key)
            if other is None or other[1] is None or other[1] < version:
                placed[record.key] = record, version

    def take(self) -> list[tuple[Record, int | None]]:
        """Hand over what was put here."""
        taken = list(self._placed.values())
        self._placed.clear()
        return taken

    def versions_of(self, items: Sequence[tuple[Record, int | None]]) -> tuple[Known, Mapping[Key, int]]:
        """Name the versions of records that were taken here, with who is to know them."""
        assert self.known is not None
        return self.known, {record.key: version for record, version in items if version is not None}

    async def decode(self, items: Sequence[tuple[Record, int | None]], poison: list[Poison]) -> list[Any]:
        """Decode records; what cannot be decoded, or says something else than its key and headers, is poison.

        The events of a business share one id of it, and `IDS` are quick ones.
        """
        events = []
        decode, inner, business, ids = self._decode, self._subject, self._business, self._ids
        for number, (record, version) in enumerate(items):
            await give_way(number)
            try:
                event: Any = decode(record.value or b"")
                subject = event if inner is None else getattr(event, inner)
                if version is not None and subject.version != version:
                    raise Unreadable(f"ce_version is {version}, the version inside is {subject.version}")
                business_id, number_of_it = self._named(record.key)
                if getattr(subject, business).int != number_of_it:
                    raise Unreadable("the business in the key is not the business inside")
                setattr(subject, business, business_id)
                for name in ids:
                    setattr(subject, name, quick(getattr(subject, name)))
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                poison.append(Poison(record, f"{type(error).__name__}: {error}"))
            else:
                events.append(event)
        return events

    def _named(self, key: bytes | None) -> tuple[UUID, int]:
        """Read the business in a key, also as a number; a business sends many records, so it is remembered."""
        text = (key or b"")[:36]
        named = self._businesses.get(text)
        if named is None:
            if len(self._businesses) >= BUSINESSES_MAX:
                self._businesses.clear()
            business_id = quick(text.decode())
            named = self._businesses[text] = business_id, business_id.int
        return named


def _names_of(model: type[Event], inner: str | None) -> tuple[str, tuple[str, ...]]:
    """Name where the subject of an event holds its business, and which of `IDS` it has."""
    subject = model if inner is None else model.model_fields[inner].annotation
    assert subject is not None
    fields = subject.model_fields
    return "business_id" if "business_id" in fields else "id", tuple(
        name for name in IDS if name in fields and fields[name].annotation is UUID
    )
