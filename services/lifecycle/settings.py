"""The knobs of lifecycle."""

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Lifecycle has none of its own yet."""
