"""What is running, and the keys of the sample business."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cli.http import is_ready
from cli.place import ROOT, Place, Trouble, read_json
from libs.embedded import kafka


def credentials(place: Place) -> dict[str, Any]:
    """Return address and keys of the sample business. Raises Trouble when `up` has not made it yet."""
    kept = read_json(place.credentials)
    if kept is None:
        raise Trouble(f"no credentials in {place.directory} yet; ./activities up makes them")
    services = place.find("services")
    port = services.port if services else kept["port"]
    named = {name: kept[name] for name in ("business_id", "user_id", "api_key", "bearer_token")}
    return {"url": f"http://127.0.0.1:{port}", **named, "operator_key": place.secrets()["operator_key"]}


def status(place: Place) -> dict[str, Any]:
    """Return what runs: our processes, each service's database, Kafka."""
    kept = read_json(place.credentials) or {}
    supervisor, services = place.find("supervisor"), place.find("services")
    ready = services is not None and bool(kept) and is_ready(services.port, kept["api_key"])
    found = [
        {"name": name, "pid": process.pid, "ready": ready}
        for name, process in (("supervisor", supervisor), ("services", services))
        if process is not None
    ]
    return {"ready": ready, "processes": found, "databases": _databases(place), "kafka": _kafka(place)}


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
