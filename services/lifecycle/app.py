"""Wiring: what lifecycle serves, hears and does by itself."""

from libs.contracts.directory import Business, Record, RecordObject
from libs.contracts.interaction import InteractionClosed
from libs.contracts.record import RecordChanged, RecordRefused
from libs.contracts.report import ReportReceived
from libs.service import Service
from libs.service.erasures import FailingErasures
from services.lifecycle import ahead, erasing, handlers, rechecks, remapping, waits
from services.lifecycle.api import (
    bulk,
    fields,
    lists,
    logged,
    objects,
    occurrences,
    rules,
    same_events,
    scheduled,
    searching,
    undo,
)
from services.lifecycle.api.accounts import activities, comments, reopening
from services.lifecycle.settings import Settings
from services.lifecycle.store import erasures

MINUTE_S = 60.0
ERASING_S = 1.0
FAILING_S = 10.0
REMAPPING_S = 1.0
RECHECKING_S = 1.0


def create(settings: Settings) -> Service:
    """Make the service. Routers with fixed words come before those with an object's name in their place."""
    service = Service("lifecycle", settings, consumers=settings.lifecycle_consumers)
    fixed = (bulk.router, lists.router, occurrences.router, scheduled.router, objects.router, logged.router)
    named = (lists.responses, fields.router, rules.router, objects.detail)
    for router in (
        undo.router,
        searching.router,
        same_events.router,
        scheduled.first,
        logged.first,
        *fixed,
        *named,
        activities.router,
        comments.router,
        reopening.router,
    ):
        service.serve(router, invalid_status=400)
    service.on(ReportReceived, handlers.admit_activities, on_set_aside=handlers.answer_set_aside)
    service.on(InteractionClosed, handlers.enter_conversations, latest=True)
    service.on(Business, handlers.begin_businesses, latest=True)
    service.on(RecordObject, handlers.copy_objects, latest=True)
    service.on(Record, handlers.copy_records, latest=True)
    service.on(RecordChanged, handlers.follow_changes)
    service.on(RecordRefused, handlers.note_refusals)
    service.every(MINUTE_S, waits.look_again)
    service.every(MINUTE_S, ahead.make_occurrences)
    service.every(ERASING_S, erasing.go_on)
    service.every(REMAPPING_S, remapping.replace_options)
    service.every(RECHECKING_S, rechecks.look_again)
    failing = FailingErasures(erasures.list_failing)
    service.every(FAILING_S, failing.look)
    service.ready_when(failing.problems)
    return service
