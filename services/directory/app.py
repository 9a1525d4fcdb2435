"""Wiring: what directory serves."""

from libs.service import Service
from services.directory.api import businesses, erasures, keys, members, objects, records, roles, security
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
    service.serve(security.router)
    return service
