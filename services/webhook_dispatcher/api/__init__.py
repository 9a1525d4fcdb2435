"""Routes of the webhook dispatcher: endpoints, and what became of what was owed to them."""

from fastapi import APIRouter

from services.webhook_dispatcher.api import deliveries, endpoints, secrets

router = APIRouter()
for part in (endpoints.router, secrets.router, deliveries.router):
    router.include_router(part)

__all__ = ["router"]
