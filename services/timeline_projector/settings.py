"""The knobs of the timeline projector: those that every service has."""

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing besides."""
