"""Wiring: what directory serves and hears."""

from libs.contracts.record import RecordRequested
from libs.service import Service
from services.directory import handlers
from services.directory.api import (
    businesses,
    erasures,
    keys,
    members,
    merging,
    objects,
    own_business,
    records,
    roles,
    security,
)
from services.directory.settings import Settings


def create(settings: Settings) -> Service:
    """Make the service. It owns the truth about keys, so it looks callers up in its own tables."""
    service = Service("directory", settings, owns_access=True)
    service.serve(businesses.make_router(settings.operator_key))
    service.serve(members.router)
    service.serve(roles.router)
    service.serve(keys.router)
    service.serve(records.router)
    service.serve(objects.router)
    service.serve(erasures.router)
    service.serve(merging.router)
    service.serve(own_business.router)
    service.serve(security.router)
    service.on(RecordRequested, handlers.apply_requests)
    return service
