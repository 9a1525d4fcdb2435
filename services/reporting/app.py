"""Wiring of reporting: what it serves and hears."""

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.contracts.interaction import InteractionClosed
from libs.messaging.subscription import Part
from libs.service import Service
from services.reporting import api, handlers
from services.reporting.domain import facts
from services.reporting.settings import Settings


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("reporting", settings)
    service.serve(api.router)
    service.on(InteractionClosed, handlers.count_conversations, latest=True)  # first: it locks before all rows
    service.on(Part(ActivityEvent, facts.READ), handlers.count_activities, latest=True)
    service.on(ActivityObject, handlers.know_types, latest=True)
    service.on(Record, handlers.know_records, latest=True)
    return service
