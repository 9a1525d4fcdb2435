"""Wiring of ingest. Interactions and the inbound topic will be served and heard from here too."""

from libs.contracts.report import ReportAnswered
from libs.service import Service
from services.ingest import api, forgetting, handlers
from services.ingest.gather import Bounds, Gather
from services.ingest.settings import Settings

FORGET_EVERY_S = 3_600.0


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("ingest", settings)
    gather = Gather(Bounds(settings.reports_pending_max, settings.sources_max))
    service.serve(api.router_of(gather))
    service.on(ReportAnswered, handlers.note_answers)
    service.every(FORGET_EVERY_S, forgetting.forget_outcomes)
    return service
