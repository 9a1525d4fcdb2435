"""Wiring of the timeline projector: what it serves and hears."""

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.contracts.interaction import InteractionClosed
from libs.messaging.subscription import Part
from libs.service import Service
from services.timeline_projector import handlers
from services.timeline_projector.api import conversations, records, timelines
from services.timeline_projector.domain import lines
from services.timeline_projector.settings import Settings


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("timeline-projector", settings)
    service.serve(timelines.make_router(settings.reference_wait_max_ms / 1000))
    service.serve(records.router)
    service.serve(conversations.router)
    service.on(InteractionClosed, handlers.show_conversations, latest=True)  # first: it locks before all rows
    service.on(Part(ActivityEvent, lines.READ), handlers.show_activities, latest=True)
    service.on(ActivityObject, handlers.name_types, latest=True)
    service.on(Record, handlers.know_records, latest=True)
    return service
