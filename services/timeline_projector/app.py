"""Wiring of the timeline projector: what it serves and hears."""

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.contracts.directory import Record
from libs.service import Service
from services.timeline_projector import api, handlers
from services.timeline_projector.settings import Settings


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("timeline-projector", settings)
    service.serve(api.make_router(settings.reference_wait_max_ms / 1000))
    service.on(ActivityEvent, handlers.show_activities, latest=True)
    service.on(ActivityObject, handlers.name_types, latest=True)
    service.on(Record, handlers.know_records, latest=True)
    return service
