"""The sample's own fields and rules take what the sample's calls say, and all that it shows besides is entered once."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from cli.sample import fields
from cli.sample.client import Client
from cli.sample.generate import email_of, generate
from cli.sample.industries import INDUSTRIES, PERMISSIONS
from cli.sample.memory import Made, Memory
from cli.sample.showcase import Showcase
from libs.contracts.decoding import decoder_of
from libs.contracts.report import ReportReceived
from services.ingest import domain, reading
from services.ingest.domain import Arrival
from tests.integration.test_lifecycle_reports import admit, answers
from tests.integration.test_lifecycle_routes import MakeDatabase, World, world
from tests.integration.test_s1_state_machine import LIFECYCLE, Place, placed
from tests.support.http import OPERATOR_KEY
from tests.support.passing import Outbox, deliver

__all__ = ("world",)

decode = decoder_of(ReportReceived)


async def test_every_call_of_the_sample_is_admitted_with_its_fields(world: World) -> None:
    for field in fields.FIELDS:
        assert (await world.call("POST", f"/{fields.OBJECT}/fields", field)).status_code == 201
    assert (await world.call("PUT", f"/{fields.OBJECT}/rules", fields.RULES)).status_code == 200
    arrival = Arrival(world.tenant.business_id, datetime.now(UTC))
    [sample, *_] = generate(7, 1_500, date(2026, 11, 21))
    accepted = [domain.accept(arrival, reading.read_report(line)) for line in sample.reports]
    told = [decode(each.value) for each in accepted]
    given = [event for event in told if event.report.fields]
    await admit(world.database, *told)
    reasons = [reason for each in await answers(world.database) for reason in each.reasons if each.outcome == "refused"]
    assert (reasons, len(given) > 10) == ([], True)
    assert any("reason" in event.report.fields for event in given)


class Desk:
    """What the sample sends its requests by: here to services without Kafka, so that lifecycle hears of each change."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._outbox: Outbox | None = None
        self.sent = 0

    def know(self, made: Made) -> None:
        self._outbox = Outbox(self._place.databases["directory"], UUID(made.id))

    def post(self, path: str, headers: dict[str, str], body: Any) -> Any:
        return self._ask("POST", path, headers, body)

    def put(self, path: str, headers: dict[str, str], body: Any) -> Any:
        return self._ask("PUT", path, headers, body)

    def patch(self, path: str, headers: dict[str, str], body: Any) -> Any:
        return self._ask("PATCH", path, headers, body)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        self.sent += 1
        client = self._place.http["directory" if path.startswith("/api/directory") else "lifecycle"]
        answer = self._place.do(client.request(method, path, headers=headers, json=body))
        assert answer.is_success, (method, path, answer.text)
        if self._outbox is not None:
            told = self._place.do(self._outbox.read())
            self._place.do(deliver(told, self._place.databases["lifecycle"], LIFECYCLE))
        return answer.json()


def enter(place: Place, path: Path) -> tuple[int, int]:
    """Enter what the sample shows, twice; how many requests each time took."""
    desk, industry = Desk(place), INDUSTRIES[1]
    memory = Memory(path, 7, datetime.now(UTC).date(), {})
    operator = {"x-api-key": OPERATOR_KEY.text}
    business = desk.post("/api/directory/businesses", operator, {"name": industry.name, "zone": industry.zone})
    made = memory.businesses[industry.key] = Made(business["id"], business["api_key"], business["user_id"])
    desk.know(made)
    key = {"x-api-key": made.api_key}
    for name, permissions in zip(industry.roles, PERMISSIONS, strict=True):
        body = {"name": name, "permissions": permissions}
        made.roles[name] = desk.post("/api/directory/roles", key, body)["id"]
    for number, name in enumerate(industry.members):
        role = made.roles[industry.roles[number % len(industry.roles)]]
        email = email_of(industry, name)
        made.members[email] = desk.post(
            "/api/directory/members", key, {"name": name, "email": email, "role_ids": [role]}
        )["id"]
    records = {
        kind: {str(n): desk.post(f"/api/directory/records/{kind}", key, {"name": f"{n}"})["id"] for n in range(4)}
        for kind in ("contact", "account")
    }
    counts = []
    for _ in range(2):
        before = desk.sent
        Showcase(cast(Client, desk), memory, industry, records).enter()
        counts.append(desk.sent - before)
    return counts[0], counts[1]


async def test_what_the_sample_shows_besides_is_entered_once(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with placed(make_database) as place:
        first, again = await asyncio.to_thread(enter, place, tmp_path / "samples.json")
        assert (first > 30, again) == (True, 0)
        async with place.databases["lifecycle"].work() as tx:
            assert await tx.value("select count(*) from comment") == 2
            assert await tx.value("select count(*) from recurrence_series") == 2
            assert await tx.value("select count(*) from activity where completed_at is not null") == 1
