"""What is asked of all processes at once: alive, ready, healthy, metrics, the whole interface's description."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from libs.gateway import answers
from libs.gateway.replicas import Replica
from libs.gateway.upstreams import Upstreams

ASK_S = 5.0
SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(\{)?")
Answer = tuple[int, bytes] | None


class Front:
    """Answers for all processes behind a gateway."""

    def __init__(self, upstreams: Upstreams, openapi: Mapping[str, Any]) -> None:
        self._upstreams = upstreams
        self._openapi = openapi
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=ASK_S))

    async def close(self) -> None:
        """Close the connections to the services."""
        await self._session.close()

    async def answer(self, request: web.BaseRequest) -> web.Response | None:
        """Answer a path that is about all processes; None for a path that any one of them can answer."""
        path = request.path
        if path == "/livez":
            return await self._all("alive", path, {})
        if path == "/readyz":
            given = request.headers.get("X-API-KEY")
            return await self._all("ready", path, {"X-API-KEY": given} if given else {})
        if path == "/healthz" or path.startswith("/healthz/"):
            return await self._health(path.removeprefix("/healthz").strip("/"), request)
        if path == "/metrics":
            return await self._metrics()
        if path == "/openapi.json":
            return answers.json(self._openapi)
        return None

    async def _all(self, word: str, path: str, headers: Mapping[str, str]) -> web.Response:
        """200 when every process answers 200; each that does not is named with what it waits for."""
        waiting = []
        for replica, found in await self._ask(self._upstreams.replicas, path, headers):
            if found is None:
                waiting.append(f"{replica.name} (no answer)")
            elif found[0] != 200:
                reasons = _read(found).get("waiting_for") or [f"answers {found[0]}"]
                waiting.append(f"{replica.name} ({', '.join(map(str, reasons))})")
        here = {replica.service for replica in self._upstreams.replicas}
        waiting += [f"{service} (no process)" for service in self._upstreams.services if service not in here]
        return answers.json({word: not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    async def _health(self, service: str, request: web.BaseRequest) -> web.Response:
        services = [service] if service else list(self._upstreams.services)
        if not set(services) <= set(self._upstreams.services):
            return answers.problem(404, answers.request_id_of(request.headers))
        asked = [replica for replica in self._upstreams.replicas if replica.service in services]
        problems: dict[str, list[str]] = {each: [] for each in services}
        for replica, found in await self._ask(asked, "/healthz", {}):
            said = ["no answer"] if found is None else _read(found).get("services", {}).get(replica.service, [])
            problems[replica.service] += [f"{replica.name}: {each}" for each in said]
        well = not any(problems.values())
        told = {"problems": problems[service]} if service else {"services": problems}
        return answers.json({"healthy": well, **told}, 200 if well else 503)

    async def _metrics(self) -> web.Response:
        """Unite the metrics of all processes; each sample is told apart by the label `process`."""
        found = await self._ask(self._upstreams.replicas, "/metrics", {})
        text = unite({replica.name: said[1].decode() for replica, said in found if said and said[0] == 200})
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _ask(
        self, replicas: Sequence[Replica], path: str, headers: Mapping[str, str]
    ) -> list[tuple[Replica, Answer]]:
        async def one(replica: Replica) -> Answer:
            try:
                async with self._session.get(f"http://{replica.address}{path}", headers=headers) as answer:
                    return answer.status, await answer.read()
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                return None

        return list(zip(replicas, await asyncio.gather(*map(one, replicas)), strict=True))


def _read(found: tuple[int, bytes]) -> dict[str, Any]:
    try:
        content = orjson.loads(found[1])
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def unite(texts: Mapping[str, str]) -> str:
    """Make one exposition of the metrics of processes, given by name, which becomes the label `process`."""
    families: dict[str, tuple[dict[str, None], list[str]]] = {}
    for process, text in texts.items():
        heads: dict[str, None] = {}
        samples: list[str] = []
        for line in text.splitlines():
            if line.startswith("# HELP "):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ({}, []))
            if line.startswith("#"):
                heads[line] = None
            elif line:
                samples.append(_labelled(line, process))
    return "".join(f"{line}\n" for heads, samples in families.values() for line in (*heads, *samples))


def _labelled(line: str, process: str) -> str:
    found = SAMPLE.match(line)
    if found is None:
        return line
    rest = line[found.end() :]
    more = "" if found.group(2) is None else rest if rest.startswith("}") else f",{rest}"
    return f'{found.group(1)}{{process="{process}"' + (more or f"}}{rest}")
