"""The knobs of lifecycle."""

from typing import Annotated

from pydantic import Field

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Members of lifecycle's group in a process of its own: with more than one, one decides while another waits."""

    lifecycle_consumers: Annotated[int, Field(ge=1, le=8)] = 2
