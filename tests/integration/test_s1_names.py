"""S1: what answers call things: records, types, what a report brought along."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.activity import Link
from libs.contracts.directory import Record
from libs.contracts.ids import activity_id_of, uuid7
from services.lifecycle import handlers
from tests.conftest import MakeDatabase
from tests.integration.test_lifecycle_reports import admit, report
from tests.integration.test_lifecycle_routes import World
from tests.support.accounts import save_person
from tests.support.http import served, settle

PLANS, LATER = "/scheduled-activity", "2030-03-18T09:00:00Z"


@pytest.fixture
async def world(make_database: MakeDatabase) -> Any:
    database = await make_database("lifecycle")
    async with served("lifecycle", database) as http:
        world = World(http, database, await settle(database), uuid7())
        await know(world, world.contact, "Grace")
        yield world


async def know(world: World, identity: UUID, name: str, version: int = 1, **given: Any) -> None:
    when = datetime.now(UTC)
    record = Record(
        business_id=world.tenant.business_id, id=identity, version=version, object="contact", name=name,
        created_at=when, updated_at=when, **given,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [record])


def names(shown: Any) -> list[str | None]:
    return [each["name"] for each in shown["associated_entities"]]


async def test_every_answer_names_the_records_and_shows_the_icon_of_the_type(world: World) -> None:
    about = [{"custom_object": "contact", "entity_id": str(world.contact)}]
    body = {"activity_object_name": "call", "due_datetime": LATER, "associated_entities": about}
    planned = await world.call("POST", PLANS, body)
    recurring = await world.call("POST", PLANS, body | {"recurrence": "FREQ=YEARLY"})
    logged = await world.call("POST", "/call/log-activity", {"related_objects": about})
    done = await world.call("POST", PLANS, body)
    completion = {"related_objects": [], "scheduled_activity_id": done.json()["id"]}
    completed = await world.call("POST", "/call/log-activity", completion)
    path, logged_path = f"{PLANS}/{planned.json()['id']}", f"/logged/{logged.json()['id']}"
    listed = (await world.call("GET", f"{PLANS}?completed=false")).json()["results"]
    found = (await world.call("POST", f"{PLANS}/search", {"completed": True})).json()["results"]
    responses = (await world.call("POST", "/call/responses", {})).json()["results"]
    shown = [planned.json(), recurring.json(), logged.json(), completed.json(), *listed, *found, *responses]
    shown.append((await world.call("GET", path)).json())
    shown.append((await world.call("PATCH", path, {"note": "x"})).json())
    shown.append((await world.call("GET", logged_path)).json())
    shown.append((await world.call("POST", f"{logged_path}/append", {"kind": "note", "text": "x"})).json())
    undone = (await world.call("POST", f"/logged/{done.json()['id']}/undo", {})).json()
    shown += [undone["logged"], undone["scheduled"]]
    assert len(shown) == 15
    assert [names(each) for each in shown] == [["Grace"]] * len(shown)
    assert {(each["activity_object"]["icon"], each["activity_object"]["colour"]) for each in shown} == {
        ("phone", "#2563eb")
    }
    await know(world, world.contact, "Grace Hopper", 2)
    assert names((await world.call("GET", logged_path)).json()) == ["Grace Hopper"]


async def test_days_to_come_name_their_records(world: World) -> None:
    about = [{"custom_object": "contact", "entity_id": str(world.contact)}]
    due = datetime.now(UTC).isoformat()
    body = {"activity_object_name": "call", "due_datetime": due, "associated_entities": about}
    assert (await world.call("POST", PLANS, body | {"recurrence": "FREQ=DAILY"})).status_code == 201
    future = (await world.call("GET", f"{PLANS}/future")).json()["results"]
    assert [names(each) for each in future[:3]] == [["Grace"]] * 3


async def test_a_record_for_others_is_not_named_nor_is_one_that_is_not_known(world: World) -> None:
    bob = await save_person(world.database, world.tenant.business_id, "Bob", role_ids=[uuid7()])
    await know(world, world.contact, "Grace", 2, visible_role_ids=[uuid7()])
    links = [Link(object="contact", record_id=world.contact), Link(object="account", record_id=uuid7())]
    given = {"type": "call", "assignee": str(bob.id), "links": links}
    await admit(world.database, report(world.tenant.business_id, "schedule", "b", **given))
    path = f"{PLANS}/{activity_id_of(world.tenant.business_id, 'crm', 'b')}"
    assert names((await world.call("GET", path, X_USER_ID=str(bob.id))).json()) == [None, None]


async def test_what_a_report_brought_along_is_shown(world: World) -> None:
    brought = {"attachments": ["https://x.example/call.mp3"], "metadata": {"conversation_id": "7"}}
    business_id = world.tenant.business_id
    await admit(world.database, report(business_id, "log", "one", type="call", **brought))
    shown = (await world.call("GET", f"/logged/{activity_id_of(business_id, 'crm', 'one')}")).json()
    assert {name: shown[name] for name in brought} == brought
