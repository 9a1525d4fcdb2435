"""What a gateway is told and tells, without a socket."""

from pathlib import Path

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from cli import fleet
from cli.place import Trouble
from libs.gateway import nginx
from libs.gateway.answers import PROBLEMS, end_to_end, problem_text
from libs.gateway.front import unite
from libs.gateway.replicas import NotAnAddress, read_upstreams
from libs.gateway.table import Table
from libs.gateway.upstreams import Upstreams
from libs.prefixes import prefix_of
from libs.service import problems
from services import NAMES
from services.__main__ import create

UPSTREAMS = [f"{name}=127.0.0.1:{9_000 + number}" for number, name in enumerate(NAMES)]


def test_every_path_belongs_to_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("WEBHOOK_MASTER_KEY", "master-key-of-the-tests")
    found = [(prefix, name) for name in NAMES for prefix in create(name).prefixes()]
    assert len({prefix for prefix, _ in found}) == len(found)
    assert {prefix_of(prefix) for prefix, _ in found} == {prefix_of(f"{prefix}/more/x") for prefix, _ in found}
    assert {name for _, name in found} == set(NAMES)


@pytest.mark.parametrize("word", ["ingest", "ingest=", "ingest=host", "ingest=host:", "=host:1", "ingest=host:x"])
def test_what_is_no_upstream_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(NotAnAddress, match="write service=host:port"):
        read_upstreams([word])


@pytest.mark.parametrize("word", ["ingest", "ingest=0", "ingest=9", "ingest=x", "nobody=2"])
def test_impossible_numbers_of_processes_are_refused(word: str) -> None:
    with pytest.raises(Trouble, match="--replicas"):
        fleet.read_replicas([word])


def test_each_process_of_a_service_has_an_instance_of_its_own_and_directory_is_first(tmp_path: Path) -> None:
    ports = iter(range(9_000, 9_100))
    parts = fleet.apart(8_080, {"ingest": 3}, tmp_path, "up", lambda name: next(ports))
    assert [part.more["KAFKA_INSTANCE"] for part in parts if part.service == "ingest"] == ["up", "up-2", "up-3"]
    assert (parts[0].service, parts[-1].service) == ("directory", "gateway")
    assert {part.service for part in parts[:-1]} == set(NAMES)
    assert len({part.port for part in parts}) == len(parts)


def test_nginx_is_told_every_process_and_every_path() -> None:
    prefixes = {"ingest": ["/ingest"], "lifecycle": ["/api/activities"]}
    table = Table("127.0.0.1", 8_080, "nginx", [*UPSTREAMS, "ingest=127.0.0.1:9100"], prefixes, {})
    text = nginx.configuration(table, Upstreams(read_upstreams(table.upstreams)), Path("/x"), None)
    assert "upstream ingest { server 127.0.0.1:9001 max_fails=0; server 127.0.0.1:9100 " in text
    assert "location = /api/activities { proxy_pass http://lifecycle; }" in text
    assert "location /api/activities/ { proxy_pass http://lifecycle; }" in text


@pytest.mark.parametrize("status", sorted(PROBLEMS))
def test_a_gateway_tells_problems_as_the_services_do(status: int) -> None:
    told = orjson.loads(problem_text(status, "r-1"))
    assert told.keys() == orjson.loads(bytes(problems.problem(status, "code", "detail", "r-1").body)).keys()
    assert (told["status"], told["request_id"]) == (status, "r-1")


def test_headers_of_the_hop_are_left_out() -> None:
    headers = CIMultiDict(
        {"Connection": "x-mine, Keep-Alive", "X-Mine": "1", "Keep-Alive": "2", "TE": "3", "X-Own": "4"}
    )
    assert dict(end_to_end(CIMultiDictProxy(headers))) == {"X-Own": "4"}


def test_metrics_of_all_processes_are_one_text_with_each_family_once() -> None:
    head = "# HELP a_total What.\n# TYPE a_total counter\n"
    united = unite({"x-1": head + 'a_total{group="g"} 1.0\n', "x-2": head + "a_total 2.0\na_total{} 3.0\n"})
    assert united.splitlines() == [
        "# HELP a_total What.",
        "# TYPE a_total counter",
        'a_total{process="x-1",group="g"} 1.0',
        'a_total{process="x-2"} 2.0',
        'a_total{process="x-2"} 3.0',
    ]
