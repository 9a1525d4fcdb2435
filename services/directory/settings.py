"""The knobs that only this service has: none."""

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """What every service needs to know."""
