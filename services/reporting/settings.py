"""The knobs of the reporting service: those that every service has."""

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing besides."""
