"""Routes of advanced rules: show, replace, and what holds for a form as it stands."""

from fastapi import APIRouter, Response

from libs.database import Transaction
from libs.service.answers import json_answer, versioned
from services.lifecycle import living
from services.lifecycle.api.callers import Admin, Reader, refuse
from services.lifecycle.api.object_answers import shown_rule
from services.lifecycle.api.object_bodies import EvaluateBody, Rules
from services.lifecycle.api.object_content import read_rules
from services.lifecycle.api.objects import lock, refuse_archived, save
from services.lifecycle.api.references import look_up, object_in_path, roles_of
from services.lifecycle.domain import objects as definitions
from services.lifecycle.domain.fields import NOTES, compiled_of

router = APIRouter(prefix="/api/activities")


@router.get("/{object}/rules")
async def get_rules(object: str, caller: Reader) -> Response:  # noqa: A002 - the path's word
    """Show the rules of an activity object."""
    async with caller.database.transaction(caller.principal) as tx:
        kind = object_in_path((await look_up(tx, caller)).known, object)
    return versioned([shown_rule(rule, kind) for rule in kind.rules], kind.version)


@router.put("/{object}/rules")
async def replace_rules(object: str, body: Rules, caller: Admin) -> Response:  # noqa: A002
    """Replace the rules of an activity object; they hold from then on."""

    async def write(tx: Transaction) -> Response:
        _, kind = await lock(tx, caller, object)
        refuse_archived(kind)
        read, problems = read_rules(body, kind)
        refuse(problems)
        saved = await save(tx, kind, definitions.next_version(kind, rules=read))
        return versioned([shown_rule(rule, saved) for rule in saved.rules], saved.version, wrote=saved.id)

    return await caller.write(write)


@router.post("/{object}/evaluate")
async def evaluate(object: str, body: EvaluateBody, caller: Reader) -> Response:  # noqa: A002
    """Say for a form as it stands which fields are shown, which of those have to be filled in, and what is wrong."""
    async with caller.database.transaction(caller.principal) as tx:
        references = await look_up(tx, caller, entities=body.related_objects)
        kind = object_in_path(references.known, object)
        links = references.links("related_objects", body.related_objects, kind, logging=body.logging)
        held = await living.values_now(tx, references.known, kind, ({}, links), roles_of(caller))
    compiled = compiled_of(kind)
    notes = [(NOTES, body.notes)] if body.notes is not None else []
    checked = compiled.check(
        [*((each.id, each.value) for each in body.fields), *notes], logging=body.logging, held=held
    )
    shown = [field for field in compiled.fields.values() if field.name not in checked.hidden]
    return json_answer(
        {
            "visible_field_ids": [field.id for field in shown],
            "hidden_field_ids": [field.id for field in compiled.fields.values() if field.name in checked.hidden],
            "required_field_ids": [field.id for field in shown if field.is_required and not field.is_read_only],
            "problems": [
                {"field": each.field, "code": each.code, "message": each.message}
                for each in (*checked.problems, *references.problems)
            ],
            "version": kind.version,
        }
    )
