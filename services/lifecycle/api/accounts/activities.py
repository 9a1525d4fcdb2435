"""S2's routes of activities: list, create, read, change, delete, restore."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from libs.access.levels import Act
from libs.contracts.ids import ulid_of, uuid7
from libs.database import Transaction
from libs.errors import Conflict, NotFound
from libs.service.answers import json_answer, versioned
from services.lifecycle import living, recording
from services.lifecycle.api.accounts import answers
from services.lifecycle.api.accounts.answers import COMPLETED, PENDING, status_of
from services.lifecycle.api.accounts.bodies import ActivityBody, Id, read_id
from services.lifecycle.api.accounts.reading import REQUIRED, Reading, list_records, look_up, read, times_of
from services.lifecycle.api.callers import Caller, MemberReader, MemberWriter, refuse, require
from services.lifecycle.api.pages import PAGES_MAX, Cursor, PageBody, Pager
from services.lifecycle.api.references import Given, roles_of
from services.lifecycle.api.same_events import with_differences
from services.lifecycle.domain import life, linked
from services.lifecycle.domain.held import LOG, PLAN, Assignee, Decision, Held, Subject, Told
from services.lifecycle.domain.known import Known
from services.lifecycle.recording import Entry
from services.lifecycle.store import accounts, activities, records

router = APIRouter(prefix="/v1/accounts/activities")
LIMIT_MAX = 100
CREATED = (*REQUIRED, "type", "participants", "attachment_urls", "title", "description", "metadata", "privacy")
NOTHING = ActivityBody()
ACTS: dict[str, Act] = {COMPLETED: "log", answers.CANCELLED: "delete"}
"""What it takes to give it a status: the same as in S1."""


@router.get("")
async def list_activities(
    caller: MemberReader,
    account_id: Annotated[Id, Query(alias="accountId")],
    page: Annotated[int, Query(ge=1, le=PAGES_MAX)] = 1,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 10,
    cursor: Cursor | None = None,
) -> Response:
    """List the activities of an account and of those that were merged with it, newest first.

    `meta.next` and `meta.previous` find their page at once, however late it is. `total` is exact as long as at most
    2,000 activities have to be looked at for it, beyond that an estimate (`totalIsEstimate`).
    """
    async with caller.database.transaction(caller.principal) as tx:
        known = await look_up(tx, caller)
        found = await list_records(tx, caller, [account_id])
        if account_id not in found or found[account_id][0] != accounts.ACCOUNT:
            raise NotFound(f"there is no account {account_id}")
        pager = Pager(caller, PageBody(page=page, page_size=limit, cursor=cursor), account_id, lambda each: each.at)
        one = await records.list_one(tx, caller.business_id, account_id)
        wanted = accounts.Wanted(one, await caller.sight(tx, known), await caller.reader(tx))
        listed = await accounts.list_linked(tx, caller.business_id, wanted, pager.page)
        count = pager.whole(listed) or await accounts.count_linked(tx, caller.business_id, wanted)
        turned = pager.turned(listed, count)
        creators = {str(each.member_id) for one in turned.rows if (each := answers.creator_of(one)) and each.member_id}
        known = await look_up(tx, caller, creators)
        others = [other for each in turned.rows if (other := answers.account_of(each)) is not None]
        found |= await list_records(tx, caller, others)
        rows = await living.as_now(tx, known, turned.rows, roles_of(caller))
    data = [answers.shown(each, known, found) for each in rows]
    return json_answer({"data": data, "meta": answers.meta_of(turned, count, (page, limit))})


@router.post("", status_code=201)
async def create_activity(body: ActivityBody, caller: MemberWriter) -> Response:
    """Create an activity: planned, or with status COMPLETED one that happened.

    In `metadata` values of the type's own fields stand by their names, and are held to these fields.
    """

    async def write(tx: Transaction) -> Response:
        reading = await read(tx, caller, body)
        reading.require(REQUIRED)
        status, kind = reading.status(), reading.kind()
        logging = status == COMPLETED
        content = reading.content({*CREATED}, kind, logging=logging)
        content["links"] = reading.links(kind, None)
        if kind is not None:
            content |= {"type": kind.api_name, "type_id": kind.id, "type_name": kind.name}
            own = reading.own_values(content, kind, None)
            await reading.check_fields(tx, content, own, Given(kind, (), content["links"], logging=logging))
        refuse(reading.problems)
        assert kind is not None
        rights, me = caller.rights(reading.known), Assignee(member_id=caller.principal.user_id)
        allowed = rights.may_log_directly(kind.id) if logging else rights.may_assign(kind.id, me)
        require(allowed, "log" if logging else "schedule", f"a {kind.api_name!r}")
        return await _record(tx, caller, reading, _create(caller, reading, content, status), 201)

    return await caller.write(write)


@router.get("/{activity_id}")
async def get_activity(activity_id: str, caller: MemberReader) -> Response:
    """Show an activity, whichever way it was made."""
    async with caller.database.transaction(caller.principal) as tx:
        held = await find(tx, caller, activity_id)
        return await answer(tx, caller, held)


@router.put("/{activity_id}")
async def change_activity(activity_id: str, body: ActivityBody, caller: MemberWriter) -> Response:
    """Change what the body names; PENDING may become COMPLETED or CANCELLED, and nothing else becomes anything."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id)
        reading = await read(tx, caller, body, [answers.account_of(held.activity)])
        names = body.model_fields_set
        reading.require(names)
        before = status_of(held.activity)
        status = reading.status(before)
        require_act(caller, reading.known, held, ACTS.get(status, "edit") if status != before else "edit")
        logging = status == COMPLETED
        kind = reading.kind(held.activity)
        content = reading.content(names, kind, logging=logging)
        if "account_id" in names:
            content["links"] = reading.links(kind, held.activity)
        [now] = await living.as_now(tx, reading.known, [held.activity], roles_of(caller))
        own = reading.own_values(content, kind, held.activity, now.fields)
        if before == PENDING:
            links = content.get("links", held.activity.links)
            reading.check_kept(links if logging else (), kind)
            await reading.check_fields(tx, content, own, Given(kind, (), links, held.activity, logging=logging))
        elif own:
            content["fields"] = held.activity.fields | own
        refuse(reading.problems)
        caller.match(held)
        _refuse_final(held, before, status, content)
        decisions = _change(caller, reading, held, content, status) if before == PENDING else []
        return await _record(tx, caller, reading, decisions or [Decision("unchanged", held)])

    return await caller.write(write)


@router.delete("/{activity_id}", status_code=204)
async def delete_activity(activity_id: str, caller: MemberWriter) -> Response:
    """Take an activity out of sight; its history stays."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id)
        reading = await read(tx, caller, NOTHING)
        require_act(caller, reading.known, held, "delete")
        caller.match(held)
        written = await _record(tx, caller, reading, [life.delete(held, caller.now)])
        return Response(status_code=204, headers={name: written.headers[name] for name in ("etag", "x-wrote")})

    return await caller.write(write)


@router.post("/{activity_id}/restore")
async def restore_activity(activity_id: str, caller: MemberWriter) -> Response:
    """Take a deletion back."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id, deleted=True)
        reading = await read(tx, caller, NOTHING)
        require_act(caller, reading.known, held, "delete")
        caller.match(held)
        return await _record(tx, caller, reading, [life.bring_back(held, caller.now)])

    return await caller.write(write)


@router.delete("/{activity_id}/attachments/{attachment_id}", status_code=204)
async def delete_attachment(activity_id: str, attachment_id: str, caller: MemberWriter) -> Response:
    """Remove an attachment of an activity that is not completed."""

    async def write(tx: Transaction) -> Response:
        held = await lock(tx, caller, activity_id)
        reading = await read(tx, caller, NOTHING)
        require_act(caller, reading.known, held, "edit")
        caller.match(held)
        identity = _identity(attachment_id, "attachment")
        attached = {each["id"]: each["url"] for each in answers.attachments_of(held.activity)}
        url = attached.get(ulid_of(identity))
        if url is None:
            raise NotFound(f"there is no attachment {attachment_id[:100]!r} of this activity")
        content = {"attachments": [each for each in held.activity.attachments if each != url]}
        _refuse_final(held, status_of(held.activity), status_of(held.activity), content)
        decisions = _change(caller, reading, held, content, PENDING)
        written = await _record(tx, caller, reading, decisions)
        return Response(status_code=204, headers={name: written.headers[name] for name in ("etag", "x-wrote")})

    return await caller.write(write)


async def find(tx: Transaction, caller: Caller, text: str) -> Held:
    """Find an activity by its ULID. Raises NotFound: also for what is deleted, or not for this caller."""
    held = await activities.find_activity(tx, caller.business_id, _identity(text, "activity"))
    return await _seen(tx, caller, held, text)


async def lock(tx: Transaction, caller: Caller, text: str, *, deleted: bool = False) -> Held:
    """Lock an activity by its ULID; with `deleted` also one that is deleted. Raises NotFound."""
    key = (caller.business_id, _identity(text, "activity"))
    return await _seen(tx, caller, (await activities.lock_activities(tx, [key])).get(key), text, deleted=deleted)


async def _seen(tx: Transaction, caller: Caller, held: Held | None, text: str, *, deleted: bool = False) -> Held:
    if held is None or (held.activity.deleted_at is not None and not deleted):
        raise NotFound(f"there is no activity {text[:100]!r}")
    if not await caller.sees(tx, held, await look_up(tx, caller)):
        raise NotFound(f"there is no activity {text[:100]!r}")
    return held


def require_act(caller: Caller, known: Known, held: Held, act: Act) -> None:
    """Refuse what the caller's rights do not allow. Raises Forbidden."""
    require(caller.rights(known).may(act, held.activity), act, f"activity {ulid_of(held.activity.activity_id)}")


def _identity(text: str, what: str) -> UUID:
    try:
        return read_id(text)
    except ValueError:
        raise NotFound(f"there is no {what} {text[:100]!r}") from None


def _create(caller: Caller, reading: Reading, content: dict[str, Any], status: str) -> list[Decision]:
    me = reading.known.person_of(caller.principal.user_id)
    subject = Subject(caller.business_id, uuid7())
    if status == COMPLETED:
        told = Told(LOG, caller.now, caller.now, me, content | {"actor": me})
        return [life.log(None, subject, told, by_request=True)]
    if me is not None:
        content["assignee"] = Assignee(member_id=me.member_id, name=me.name)
    planned = life.plan(None, subject, Told(PLAN, caller.now, caller.now, me, content))
    if status == PENDING:
        return [planned]
    return [planned, life.cancel(planned.held, caller.now, caller.now)]


def _change(caller: Caller, reading: Reading, held: Held, content: dict[str, Any], status: str) -> list[Decision]:
    """Change what is pending; to complete it is one version, to change and cancel it two."""
    me = reading.known.person_of(caller.principal.user_id)
    if status == COMPLETED:
        content = times_of(held.activity.due_at, logging=True) | content | {"actor": me}
        subject = Subject(caller.business_id, held.activity.activity_id)
        return [life.log(held, subject, Told(LOG, caller.now, caller.now, me, content), by_request=True)]
    changed = life.change(held, Told(PLAN, caller.now, caller.now, me, content))
    changed = linked.ask(changed, caller.now, asks=reading.asks)
    assert changed.held is not None
    if status == PENDING:
        return [changed]
    return [changed, life.cancel(changed.held, caller.now, caller.now)]


def _refuse_final(held: Held, before: str, status: str, content: dict[str, Any]) -> None:
    """Refuse to change what is completed or cancelled. Raises Conflict."""
    if before == PENDING:
        return
    identity = ulid_of(held.activity.activity_id)
    if status != before:
        message = f"activity {identity} is {before} and cannot become {status}"
        undo = f"POST {router.prefix}/{identity}/undo" if before == COMPLETED else None
        raise Conflict(message, "transition", undo)
    differing = [name for name, value in content.items() if getattr(held.activity, name) != value]
    if differing:
        allowed = "it can only be added to" if before == COMPLETED else "it stays as it is"
        raise Conflict(f"activity {identity} is {before}; {allowed}", "final")


async def _record(
    tx: Transaction, caller: Caller, reading: Reading, decisions: list[Decision], status: int = 200
) -> Response:
    """Save what was decided, in that order, and answer the activity as it is after it."""
    me = reading.known.person_of(caller.principal.user_id)
    first = decisions[0]._replace(linked=reading.linked)
    applied = [each for each in (first, *decisions[1:]) if each.outcome == "applied"]
    if applied:
        asked, wanted = caller.request_id, reading.known.recognises
        await recording.record(tx, [Entry(each, me, request_id=asked, recognise=wanted) for each in applied])
    held = decisions[-1].held
    assert held is not None
    if any(each.types[-1] == "activity.completed" for each in applied):
        await caller.retry_waiting(tx, held)
        held = await activities.find_activity(tx, caller.business_id, held.activity.activity_id)
        assert held is not None
    return await answer(tx, caller, held, status, wrote=True)


async def answer(tx: Transaction, caller: Caller, held: Held, status: int = 200, *, wrote: bool = False) -> Response:
    """Answer an activity."""
    activity = held.activity
    creator, account_id = answers.creator_of(activity), answers.account_of(activity)
    known = await look_up(tx, caller, [str(creator.member_id)] if creator is not None else [])
    found = await list_records(tx, caller, [account_id] if account_id is not None else [])
    [now] = await living.as_now(tx, known, [activity], roles_of(caller))
    shown = {"data": answers.shown(now, known, found)}
    if activity.same:
        shown["data"]["same"] = answers.same_of(await with_differences(tx, caller, known, held))
    return versioned(shown, activity.version, status, activity.activity_id if wrote else None)
