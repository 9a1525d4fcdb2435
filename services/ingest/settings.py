"""The knobs that only ingest has."""

from pydantic import Field

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Bounds on what one business may have in hand here."""

    reports_pending_max: int = Field(200_000, ge=1)
    sources_max: int = Field(200, ge=1)
