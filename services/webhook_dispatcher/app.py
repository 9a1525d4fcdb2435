"""Wiring of the webhook dispatcher: what it serves, hears and does by itself."""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import structlog

from libs.contracts.activity import ActivityEvent
from libs.contracts.activity_object import ActivityObject
from libs.service import Service
from libs.service.clock import now
from services.webhook_dispatcher import api, handlers, health, partitions
from services.webhook_dispatcher.delivery import QUEUED_SHARE, Dispatcher, Policy
from services.webhook_dispatcher.domain.addresses import AddressRules
from services.webhook_dispatcher.managed import follow_objects
from services.webhook_dispatcher.replaying import Replayer
from services.webhook_dispatcher.sealing import Sealer
from services.webhook_dispatcher.sender import Sender
from services.webhook_dispatcher.settings import Settings
from services.webhook_dispatcher.trial import Trials
from services.webhook_dispatcher.unreadable import Unreadable

HEARD = ("activity.completed", "activity.appended")
ERASING = ("activity.changed",)
HOUR_S = 3600.0
UNREADABLE_S, WATCH_S, ANNOUNCE_S = 15.0, 60.0, 10.0
TIMEOUT_MAX_S = 30.0
"""The longest exchange that an endpoint may ask for: every lease outlives it."""

SENDERS = {"lean": ("lean", "LeanSender"), "aiohttp": ("aiohttp_sender", "AiohttpSender")}
"""Where each is; only the chosen one is imported."""

log = structlog.get_logger("webhooks")


def lease_s_of(extra_s: float) -> float:
    """Say how long a delivery's lease is: whenever it is sent, the longest exchange and `extra_s` besides are left."""
    return (TIMEOUT_MAX_S + extra_s) / (1 - QUEUED_SHARE)


def sender_named(name: str) -> Callable[[AddressRules, float, float], Sender]:
    """Find a sender by its name: what makes one of rules, a timeout and one for connecting, in seconds."""
    module, maker = SENDERS[name]
    found: Callable[[AddressRules, float, float], Sender] = getattr(import_module(f"{__package__}.{module}"), maker)
    return found


def create(settings: Settings) -> Service:
    """Wire the service."""
    service = Service("webhook-dispatcher", settings)
    rules = settings.address_rules()
    if rules.allowed_networks or rules.allow_http or rules.any_port:
        log.warning(
            "webhooks may leave the public internet", networks=settings.webhook_allowed_networks,
            http=rules.allow_http, any_port=rules.any_port,
        )  # fmt: skip
    sealer = Sealer(settings.webhook_master_key.get_secret_value())
    dispatcher, unreadable = Dispatcher(_policy_of(settings), sealer, now), Unreadable(sealer)
    replayer = Replayer(dispatcher.wake)
    make_sender = partial(sender_named(settings.webhook_sender), rules)
    timeouts_s = settings.webhook_timeout_s, settings.webhook_connect_timeout_s

    async def replay_chosen() -> None:
        await replayer.run(service.database)

    async def deliver_due() -> None:
        sender = make_sender(*timeouts_s)
        try:
            await dispatcher.run(service.database, sender)
        finally:
            await sender.close()

    for router in api.routers:
        service.serve(router)
    service.on(ActivityEvent, handlers.owe_deliveries(settings.webhook_kept_days, dispatcher), topics=HEARD)
    service.on(ActivityObject, follow_objects(sealer, rules), latest=True)
    service.on(ActivityEvent, handlers.forget_texts, topics=ERASING, latest=True)
    service.always(deliver_due)
    service.always(replay_chosen)
    for part in (dispatcher, replayer, Trials(sealer, make_sender, timeouts_s)):
        service.share(part)
    service.every(WATCH_S, health.watch_failing(now))
    service.every(WATCH_S, health.end_silent_listeners)
    service.every(ANNOUNCE_S, health.announce_changes(now))
    service.every(HOUR_S, partitions.keep_days(settings.webhook_kept_days))
    service.every(UNREADABLE_S, unreadable.look)
    service.ready_when(unreadable.problems)
    service.ready_when(dispatcher.problems)
    return service


def _policy_of(settings: Settings) -> Policy:
    return Policy(
        settings.webhook_permits_max,
        lease_s_of(settings.webhook_lease_extra_s),
        settings.webhook_stop_s,
        settings.webhook_stuck_s,
        settings.webhook_schedule_s,
        settings.webhook_lane_max,
    )
