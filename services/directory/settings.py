"""The knobs that only this service has."""

from pydantic import SecretStr

from libs.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Empty `OPERATOR_KEY`: nobody can make businesses."""

    operator_key: SecretStr = SecretStr("")
