"""Finished conversations in."""

import asyncio
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from libs.access import Principal, may
from libs.access.members import find_members
from libs.database import Transaction
from libs.errors import Problem, Rejected
from libs.messaging.outbox import Outgoing, append
from libs.service.answers import json_answer, preferred
from libs.service.clock import now
from libs.service.http import PREFERRING, DatabaseDep, takes
from services.ingest import closing, reading
from services.ingest.closing import Conversation
from services.ingest.domain import Arrival
from services.ingest.gather import Gather
from services.ingest.interactions import BODY
from services.ingest.store import interactions

POLL_S = 0.1

Writer = Annotated[Principal, Depends(may("ingest.write"))]


class UnknownAgents(Rejected):
    """Members that are not known here, or not yet."""


def router_of(gather: Gather, reference_wait_max_s: float) -> APIRouter:
    """Make the route; a member that is not known yet is looked for again for a while."""
    router = APIRouter()
    schema = BODY.json_schema(ref_template="#/components/schemas/{model}")
    router.add_api_route(
        "/ingest/interactions",
        takes(PREFERRING)(partial(report_interaction, gather, reference_wait_max_s)),
        methods=["POST"], status_code=202, name="report_interaction",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    )  # fmt: skip
    return router


async def report_interaction(
    gather: Gather, wait_max_s: float, request: Request, database: DatabaseDep, principal: Writer
) -> Response:
    """Accept a finished conversation with its messages: durably and once."""
    arrival = Arrival(principal.business_id, now())
    conversation = closing.accept(arrival, reading.read_interaction(await request.body()))
    event = closing.event_of(conversation.head, conversation.messages)
    closing.check_room(event, len(conversation.messages))
    deadline = time.monotonic() + wait_max_s
    while True:
        try:
            async with database.transaction(principal) as tx:
                fresh = await _keep(tx, gather, (arrival, conversation, event))
            break
        except UnknownAgents:
            if time.monotonic() + POLL_S > deadline:
                raise
        await asyncio.sleep(POLL_S)
    answer = {"interaction_id": conversation.head.interaction_id, "status": "accepted"}
    return preferred(request, json_answer(answer, 202 if fresh else 200))


async def _keep(tx: Transaction, gather: Gather, given: tuple[Arrival, Conversation, Outgoing]) -> bool:
    """Keep a conversation and its event; tell whether it is new. Raises Conflict, Rejected."""
    arrival, conversation, event = given
    head = conversation.head
    await _check_agents(tx, conversation)
    if head.source not in await gather.sources_with(tx, arrival, {head.source}):
        message = f"{head.source!r} is one source too many for this business; remove or reuse one"
        raise Rejected(message, [Problem("source", "too_many_sources", message)], "too_many_sources")
    if not await interactions.insert_interaction(tx, conversation):
        closing.judge(conversation, await interactions.get_hash(tx, head.business_id, head.interaction_id))
        return False
    await append(tx, [event])
    return True


async def _check_agents(tx: Transaction, conversation: Conversation) -> None:
    agents = closing.agents_of(conversation)
    if not agents:
        return
    known = await find_members(tx, conversation.head.business_id, agents.keys())
    problems = [
        Problem(field, "does_not_exist", f"{agent_id} is not a member of this business")
        for agent_id, field in agents.items()
        if str(agent_id) not in known
    ]
    if problems:
        raise UnknownAgents("unknown members", problems)
