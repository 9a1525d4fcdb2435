"""Conversations that end: reported with their messages, some of them several times, now and then with another body."""

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from tests.faults.answered import Answered
    from tests.faults.load import Tenant

PATH = "/ingest/interactions"
CHANNELS = ("voice", "sms", "whatsapp", "webchat", "email")


async def talk(tenant: "Tenant", number: int, records: int) -> None:
    """Report a conversation until it is answered: once, three times at once, or again with another body."""
    body = _conversation(tenant, f"t{number}", records)
    draw = tenant.chance.random()
    if draw < 0.2:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(_send(tenant, body))
        return
    answer = await _send(tenant, body)
    if draw > 0.9 and answer.outcome == "ok":
        await _send(tenant, body | {"queue": "another"}, expect=409)


def _conversation(tenant: "Tenant", ref: str, records: int) -> dict[str, Any]:
    chance = tenant.chance
    day, minute = chance.randrange(1, 29), chance.randrange(50)
    at = f"2026-05-{day:02}T11:{minute:02}"
    messages = [
        {"id": f"m{n}", "direction": "inbound", "text": f"{tenant.canary} {n}", "sent_at": f"{at}:{n:02}Z"}
        for n in range(chance.randrange(4))
    ]
    return {
        "interaction_id": ref, "source": "chat", "channel": chance.choice(CHANNELS), "direction": "inbound",
        "address": tenant.canary, "opened_at": f"{at}:00Z", "closed_at": f"{at}:59Z", "messages": messages,
        "links": [{"object": "contact", "external_ref": f"c-{chance.randrange(records)}"}],
    }  # fmt: skip


async def _send(tenant: "Tenant", body: dict[str, Any], expect: int | None = None) -> "Answered":
    content, history = orjson.dumps(body), tenant.history
    said = {"ref": body["interaction_id"], **({} if expect is None else {"expect": expect})}

    def end(number: int, answer: "Answered") -> None:
        found = orjson.loads(answer.body) if answer.outcome == "ok" else {}
        history.end(number, answer.outcome, **({"id": found["interaction_id"]} if found else {"s": answer.status}))

    return await tenant.until_answered(
        lambda: tenant.call("POST", PATH, content),
        lambda: history.invoke(tenant.business.id, "talk", **said),
        end,
    )
