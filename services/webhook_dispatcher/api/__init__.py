"""Routes of the webhook dispatcher: endpoints, and what became of what was owed to them."""

from services.webhook_dispatcher.api import deliveries, endpoints, listeners, replays, secrets, states, stats, trials

routers = (
    endpoints.router,
    states.router,
    secrets.router,
    deliveries.router,
    replays.router,
    trials.router,
    stats.router,
    listeners.router,
)

__all__ = ["routers"]
