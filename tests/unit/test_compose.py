"""The compose file knows every service, and gives none of its containers more than it needs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from services import NAMES

ROOT = Path(__file__).resolve().parents[2]
CONTENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = CONTENT["services"]


def test_every_service_has_a_container_and_a_place_behind_the_gateway() -> None:
    assert set(CONTAINERS) == {*NAMES, "postgres", "kafka", "prepare", "gateway"}
    upstreams = {word for word in CONTAINERS["gateway"]["command"] if word.startswith("--upstream")}
    assert upstreams == {f"--upstream={name}={name}:8080" for name in NAMES}
    assert set(CONTAINERS["gateway"]["depends_on"]) == set(NAMES)


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_limited_looked_after_and_without_capabilities(name: str) -> None:
    container = CONTAINERS[name]
    assert {"mem_limit", "cpus", "pids_limit", "healthcheck"} <= container.keys()
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["read_only"] is (name != "kafka")


def test_a_secret_is_given_to_those_who_need_it_alone() -> None:
    given = {name: set(container.get("secrets", ())) for name, container in CONTAINERS.items()}
    assert [name for name in given if "database_url" in given[name]] == ["prepare"]
    assert {name for name in given if "operator_key" in given[name]} == set(NAMES)
    assert [name for name in given if "webhook_master_key" in given[name]] == ["webhook-dispatcher"]
    assert [name for name in given if "postgres_password" in given[name]] == ["postgres"]
    assert given["gateway"] == set()
    assert set().union(*given.values()) == set(CONTENT["secrets"])


def test_image_is_built_without_what_an_older_builder_lacks_and_runs_unprivileged() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if "syntax=" in line or "--mount" in line]
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert [line for line in lines if "pip install" in line]
    assert "--require-hashes" in "".join(lines)
