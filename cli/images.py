"""Servers for the tests from public images, where a Docker engine answers."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli import output
from cli.place import Trouble
from libs.embedded import kafka, processes

POSTGRES = "postgres:17"
KAFKA = "apache/kafka:4.3.1"
READY_S = 60.0
INSIDE = Path("/.dockerenv")


@contextmanager
def servers() -> Iterator[Mapping[str, str]]:
    """Start both servers and give their addresses. Raises Trouble when no engine answers."""
    if INSIDE.exists():  # in a container the engine's ports are those of the host, which is us or beside us
        os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # they end with us; one image less to pull
    _refuse_no_engine()
    output.say(f"starting {POSTGRES} and {KAFKA} as containers")
    with _postgres() as database_url, _kafka() as bootstrap_servers:
        yield {"TEST_DATABASE_URL": database_url, "TEST_KAFKA": bootstrap_servers}


def _refuse_no_engine() -> None:
    import docker

    try:
        docker.from_env().ping()
    except (docker.errors.DockerException, OSError) as error:
        raise Trouble(
            f"--containers needs a Docker engine that answers (DOCKER_HOST names another): {error}"
        ) from error


@contextmanager
def _postgres() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    unsafe = "postgres -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c jit=off"
    made = PostgresContainer(
        POSTGRES, username="postgres", password=secrets.token_hex(8), dbname="postgres", driver=None
    )
    made.with_command(unsafe).with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C.UTF-8")
    with made as running:
        yield str(running.get_connection_url())


@contextmanager
def _kafka() -> Iterator[str]:
    """Run a broker that names itself by a port of this machine, chosen before it starts."""
    from testcontainers.core.container import DockerContainer

    port = processes.find_free_port()
    made = DockerContainer(KAFKA).with_bind_ports(9092, port)
    for name, value in _settings(port).items():
        made.with_env(name, value)
    with made:
        if not processes.wait_until(lambda: kafka.answers(f"127.0.0.1:{port}"), READY_S):
            raise Trouble(f"{KAFKA} was not ready in {READY_S:g} s:\n{_logs(made)}")
        yield f"127.0.0.1:{port}"


def _settings(port: int) -> dict[str, str]:
    single = ("OFFSETS_TOPIC", "TRANSACTION_STATE_LOG", "SHARE_COORDINATOR_STATE_TOPIC")
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        **{f"KAFKA_{name}_REPLICATION_FACTOR": "1" for name in single},
        **{f"KAFKA_{name}_MIN_ISR": "1" for name in single[1:]},
    }


def _logs(container: Any) -> str:
    out, err = container.get_logs()
    return "\n".join((out + err).decode(errors="replace").splitlines()[-15:])
