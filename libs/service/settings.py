"""The knobs that every service has. A field's name is its environment variable; services add their own."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.access.rates import BURST, REQUESTS_PER_S
from libs.database import Urls
from libs.messaging.broker import BrokerSettings
from libs.service.room import BODIES_MAX_BYTES


def secrets_directory() -> Path:
    """Return where a container finds its secrets: a file for each, named as field or variable, in lower case."""
    return Path(os.environ.get("SECRETS_DIR", "/run/secrets"))


class ServiceSettings(BaseSettings):
    """What a service needs to know of its surroundings: from the environment, else from a container's secrets.

    `DATABASE_URL` names the server; `<SERVICE>_DATABASE_URL` (such as `INGEST_DATABASE_URL`) puts one service's
    database somewhere else. `KAFKA_INSTANCE` is a name that this process alone has among those of its service.
    `OPERATOR_KEY` opens the routes of operators; empty: nobody does.
    """

    model_config = SettingsConfigDict(secrets_dir=secrets_directory() if secrets_directory().is_dir() else None)

    operator_key: SecretStr = SecretStr("")
    database_url: SecretStr = SecretStr("")
    database_roles_secret: SecretStr = SecretStr("")
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_partitions: int = Field(4, ge=1)
    kafka_replication_factor: int = Field(1, ge=1)
    kafka_instance: str | None = None
    routes_connections_max: int = Field(6, ge=1)
    worker_connections_max: int = Field(4, ge=3)
    reference_wait_max_ms: int = Field(2_000, ge=0)
    rate_requests_per_s: int = Field(REQUESTS_PER_S, ge=1)
    rate_burst: int = Field(BURST, ge=1)
    access_stale_max_s: int = Field(900, ge=1)
    requests_waiting_max: int = Field(1_000, ge=1)
    bulks_waiting_max: int = Field(16, ge=1)
    bodies_max_bytes: int = Field(BODIES_MAX_BYTES, ge=8 << 20)
    outbox_backlog_max_bytes: int = Field(1 << 30, ge=1)
    drain_s: float = Field(0.0, ge=0, le=60)
    log_level: str = "info"
    otel_exporter_otlp_endpoint: str = ""
    otel_traces_sampler_arg: float = Field(0.05, ge=0, le=1)

    def urls(self, package: str) -> Urls:
        """Name the database of a service. Raises ValueError when no address is set."""
        secret = self.database_roles_secret.get_secret_value()
        own = os.environ.get(f"{package.upper()}_DATABASE_URL") or _read(
            secrets_directory() / f"{package}_database_url"
        )
        if own:
            return Urls(package, own, secret)
        server = self.database_url.get_secret_value()
        if not server:
            raise ValueError(f"set DATABASE_URL (the server) or {package.upper()}_DATABASE_URL (the database)")
        return Urls.on_server(package, server, secret)

    def broker(self) -> BrokerSettings:
        """Name the Kafka brokers and how topics are laid out on them."""
        return BrokerSettings(
            bootstrap_servers=self.kafka_bootstrap_servers,
            partitions=self.kafka_partitions,
            replication_factor=self.kafka_replication_factor,
            instance=self.kafka_instance,
            outbox_backlog_max_bytes=self.outbox_backlog_max_bytes,
        )


def _read(path: Path) -> str | None:
    return path.read_text().strip() if path.is_file() else None
