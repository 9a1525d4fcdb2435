"""What is running, and the keys of the sample business."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cli.http import ask, is_ready
from cli.place import ROOT, Place, Trouble, Working, read_json
from libs.embedded import kafka, processes


def credentials(place: Place) -> dict[str, Any]:
    """Return address and keys of the sample business. Raises Trouble when `up` has not made it yet."""
    kept = read_json(place.credentials)
    if kept is None:
        raise Trouble(f"no credentials in {place.directory} yet; ./activities up makes them")
    front = place.front()
    port = front.port if front else kept["port"]
    named = {name: kept[name] for name in ("business_id", "user_id", "api_key", "bearer_token")}
    return {"url": f"http://127.0.0.1:{port}", **named, "operator_key": place.secrets()["operator_key"]}


def status(place: Place, lag: bool = False) -> dict[str, Any]:
    """Return what runs: our processes, each service's database, Kafka. `lag`: and what services have not heard yet."""
    kept = read_json(place.credentials) or {}
    supervisor, working, front = place.find("supervisor"), place.working(), place.front()
    ready = front is not None and bool(kept) and is_ready(front.port, kept["api_key"])
    found = [_process("supervisor", supervisor, ready)] if supervisor is not None else []
    for name, process in working.items():
        found.append(_process(name, process, bool(kept) and is_ready(process.port, kept["api_key"])))
    content: dict[str, Any] = {
        "ready": ready,
        "processes": found,
        "health": _health(front.port) if front is not None else {},
        "databases": _databases(place),
        "kafka": _kafka(place),
    }
    return content | ({"lag": _lag(place) if content["kafka"]["reachable"] else {}} if lag else {})


def _health(port: int) -> dict[str, list[str]]:
    """Say what keeps each service from its work, in the words of `/healthz`."""
    try:
        content = ask(port, "GET", "/healthz")[1]
    except OSError as error:
        return {"process": [f"port {port} does not answer ({error})"]}
    return content["services"] if isinstance(content, dict) and "services" in content else {"process": [str(content)]}


def _process(name: str, process: Working, ready: bool) -> dict[str, Any]:
    rss = processes.memory_mib(process.pid)
    return {"name": name, "pid": process.pid, "port": process.port, "rss_mib": round(rss), "ready": ready}


def _lag(place: Place) -> dict[str, int]:
    """Count for each service the records that it has not acknowledged yet; empty when Kafka does not say."""
    from cli import check  # brings all services, which few commands need
    from libs.errors import Unavailable
    from libs.messaging import admin
    from libs.service import logs
    from libs.service.settings import ServiceSettings

    logs.set_up("error")
    with check.surroundings(place.environment()):
        groups, broker = check.groups(), ServiceSettings().broker()
        try:
            behind = asyncio.run(admin.backlogs(broker, groups))
        except Unavailable:
            return {}
    lag: dict[str, int] = {}
    for group, count in behind.items():
        service = group.partition(".")[0].replace("_", "-")
        lag[service] = lag.get(service, 0) + count
    return lag


def _databases(place: Place) -> dict[str, Any]:
    packages = sorted(path.parent.name for path in Path(ROOT / "services").glob("*/app.py"))
    try:
        server = place.database_url()
    except FileNotFoundError:
        return {}
    reachable = asyncio.run(_answers(server))
    return {
        package.replace("_", "-"): {
            "url": _without_login(server, f"/activities_{package}"),
            "reachable": f"activities_{package}" in reachable,
        }
        for package in packages
    }


async def _answers(server: str) -> set[str]:
    import asyncpg  # a driver is heavy, and few commands need it

    try:
        connection = await asyncpg.connect(server, timeout=3)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return set()
    try:
        rows = await connection.fetch("select datname from pg_database where datallowconn")
    finally:
        await connection.close()
    return {row["datname"] for row in rows}


def _without_login(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=path, query=""))


def _kafka(place: Place) -> dict[str, Any]:
    try:
        servers = place.bootstrap_servers()
    except FileNotFoundError:
        return {"bootstrap_servers": None, "reachable": False}
    return {"bootstrap_servers": servers, "reachable": any(kafka.answers(each) for each in servers.split(","))}
