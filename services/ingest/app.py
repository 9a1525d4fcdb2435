"""Wiring of ingest: what it serves, hears and does by itself."""

from libs.contracts.directory import Record
from libs.contracts.report import ReportAnswered
from libs.service import Service
from libs.service.erasures import FailingErasures
from services.ingest import erasing, forgetting, handlers, inbound
from services.ingest.api import interactions, reports
from services.ingest.gather import Bounds, Gather
from services.ingest.settings import Settings
from services.ingest.store import erasures

FORGET_EVERY_S = 3_600.0
ERASING_S = 1.0
FAILING_S = 10.0


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("ingest", settings)
    gather = Gather(Bounds(settings.reports_pending_max, settings.sources_max))
    service.serve(reports.router_of(gather), compressed=True)
    service.serve(interactions.router_of(gather, settings.reference_wait_max_ms / 1000), compressed=True)
    service.on(ReportAnswered, handlers.note_answers)
    if settings.inbound_topics:
        service.hear_inbound(inbound.inbound_of(gather, settings.inbound_topics))
    service.on(Record, handlers.note_erasures, latest=True)
    service.every(ERASING_S, erasing.go_on)
    failing = FailingErasures(erasures.list_failing)
    service.every(FAILING_S, failing.look)
    service.ready_when(failing.problems)
    service.every(FORGET_EVERY_S, forgetting.forget_outcomes)
    return service
