"""Recurrences as members may see and change them: what is to come is hidden as what it is made like would be."""

from datetime import UTC, datetime
from typing import Any

from libs.access.levels import ACTIVITY_PERMISSIONS, Level
from libs.contracts.directory import Record
from libs.contracts.ids import uuid7
from services.lifecycle import handlers
from tests.integration.test_s1_permissions import SCHEDULED, Bob, World, world

__all__ = ["world"]

EVERYTHING: dict[str, Level] = dict.fromkeys(ACTIVITY_PERMISSIONS, "all")
WINDOW = "from_date=2030-03-01&to_date=2030-03-31"


async def weekly(world: World, **more: Any) -> dict[str, Any]:
    """Let Ada schedule one that recurs each Friday of March 2030."""
    body = {
        "activity_object_name": "call", "due_datetime": "2030-03-01T09:00:00Z",
        "recurrence": "FREQ=WEEKLY;COUNT=5", **more,
    }  # fmt: skip
    answer = await world.call(None, "POST", SCHEDULED, body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def future(world: World, bob: Bob | None) -> int:
    answer = await world.call(bob, "GET", f"{SCHEDULED}/future?{WINDOW}")
    assert answer.status_code == 200, answer.text
    return len(answer.json()["results"])


async def test_what_is_to_come_about_a_record_for_other_roles_is_hidden(world: World) -> None:
    agent, outsider = await world.bobs(EVERYTHING, EVERYTHING)
    when = datetime.now(UTC)
    contact = Record(
        business_id=world.tenant.business_id, id=uuid7(), version=1, object="contact", name="Grace", created_at=when,
        updated_at=when,
    )  # fmt: skip
    async with world.database.work() as tx:
        await handlers.copy_records(tx, [contact])
    made = await weekly(world, associated_entities=[{"custom_object": "contact", "entity_id": str(contact.id)}])
    path = f"{SCHEDULED}/series/{made['series_id']}"
    assert [await future(world, each) for each in (None, agent, outsider)] == [4, 4, 4]
    async with world.database.work() as tx:
        guarded = contact.model_copy(update={"version": 2, "visible_role_ids": [agent.role]})
        await handlers.copy_records(tx, [guarded])
    assert [await future(world, each) for each in (agent, outsider)] == [4, 0]
    assert [(await world.call(each, "GET", path)).status_code for each in (agent, outsider)] == [200, 404]
    skipped = await world.call(outsider, "POST", f"{path}/skip", {"date": "2030-03-15"})
    assert skipped.status_code == 404


async def test_what_is_to_come_of_a_private_one_is_for_those_who_take_part(world: World) -> None:
    stranger, assignee = await world.bobs(EVERYTHING, EVERYTHING)
    made = await weekly(world, employee_id=str(assignee.id))
    async with world.database.work() as tx:
        await tx.execute(
            """
            insert into restricted (business_id, activity_id, privacy, creator_id, member_ids)
            values ($1, $2, 'private', null, array[$3::uuid])
            """,
            world.tenant.business_id, made["id"], assignee.id,
        )  # fmt: skip
    assert [await future(world, each) for each in (assignee, stranger)] == [4, 0]
    path = f"{SCHEDULED}/series/{made['series_id']}"
    assert [(await world.call(each, "GET", path)).status_code for each in (assignee, stranger)] == [200, 404]


async def test_a_change_of_several_occurrences_takes_the_right_to_each(world: World) -> None:
    bob = await world.bob(scheduled_view="all", scheduled_edit="my", scheduled_delete="my")
    made = await weekly(world, recurrence={"rule": "FREQ=WEEKLY;COUNT=5", "mode": "fixed"})
    path = f"{SCHEDULED}/{made['id']}"
    assert (await world.call(None, "PATCH", path, {"employee_id": str(bob.id)})).status_code == 200
    for method, scope in (("PATCH", "following"), ("PATCH", "all"), ("DELETE", "following"), ("DELETE", "all")):
        body = {"note": "mine"} if method == "PATCH" else None
        refused = await world.call(bob, method, f"{path}?scope={scope}", body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted"), (method, scope, refused.text)
    assert (await world.call(None, "GET", path)).json()["note"] != "mine"
    assert (await world.call(bob, "PATCH", path, {"note": "mine"})).status_code == 200
    assert (await world.call(None, "PATCH", f"{path}?scope=all", {"note": "ours"})).status_code == 200
    assert (await world.call(bob, "DELETE", path)).status_code == 204
