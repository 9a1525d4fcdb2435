"""Routes of the webhook dispatcher: endpoints, and what became of what was owed to them."""

from services.webhook_dispatcher.api import deliveries, endpoints, replays, secrets, states

routers = (endpoints.router, states.router, secrets.router, deliveries.router, replays.router)

__all__ = ["routers"]
