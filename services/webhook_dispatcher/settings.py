"""The knobs of the webhook dispatcher alone."""

from dataclasses import replace
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from libs.messaging.broker import BrokerSettings
from libs.service.settings import ServiceSettings
from services.webhook_dispatcher.domain.addresses import AddressRules, read_networks
from services.webhook_dispatcher.domain.schedule import SCHEDULE_S

OUTBOX_POLL_MAX_S = 10.0


class Settings(ServiceSettings):
    """`webhook_allowed_networks` (such as `127.0.0.0/8,::1/128`), `webhook_allow_http` and `webhook_any_port` open
    what is refused otherwise; they are for private installations and for trying things out.
    `webhook_headers_allowed` (such as `authorization`) names headers that endpoints may ask for beside `x-…`.
    """

    webhook_master_key: SecretStr = SecretStr("")
    webhook_allowed_networks: str = ""
    webhook_allow_http: bool = False
    webhook_any_port: bool = False
    webhook_sender: Literal["lean", "aiohttp"] = "lean"
    webhook_permits_max: int = Field(512, ge=4)
    webhook_lane_max: int = Field(16, ge=2)
    webhook_timeout_s: float = Field(15.0, gt=0, le=30)
    webhook_connect_timeout_s: float = Field(5.0, gt=0, le=30)
    webhook_lease_extra_s: float = Field(10.0, gt=0)
    webhook_stop_s: float = Field(10.0, ge=0)
    webhook_stuck_s: float = Field(30.0, gt=0)
    webhook_schedule_s: tuple[float, ...] = SCHEDULE_S
    webhook_endpoints_max: int = Field(100, ge=1)
    webhook_headers_allowed: str = ""
    webhook_kept_days: int = Field(30, ge=5)

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _readable(cls, value: str) -> str:
        read_networks(value)
        return value

    def broker(self) -> BrokerSettings:
        """Look seldom into the outbox, which holds only what happened to endpoints; what this process puts there leaves
        at once."""
        return replace(super().broker(), outbox_poll_max_s=OUTBOX_POLL_MAX_S)

    def address_rules(self) -> AddressRules:
        """Say what the operator allows beyond the public internet."""
        return AddressRules(
            read_networks(self.webhook_allowed_networks), self.webhook_allow_http, self.webhook_any_port
        )

    def headers_allowed(self) -> frozenset[str]:
        """Name the headers that endpoints may ask for besides those that begin with `x-`."""
        return frozenset(name.strip().lower() for name in self.webhook_headers_allowed.split(",") if name.strip())
