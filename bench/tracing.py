"""What tracing costs: the same single reports to all services in one process, without tracing and with it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.figures import Figure
from bench.processes import Group
from bench.single import bodies_of, call
from bench.system import Tenant

CONNECTIONS, SECONDS, WARM_S = 16, 10, 3
RATIO = 1.1
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def collector() -> AsyncIterator[str]:
    """Take spans and forget them: an OTLP/HTTP collector at the address given."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0].partition(b":")[2]))
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def settings_of(address: str) -> Mapping[str, str]:
    """Switch tracing on as an operator would: 5 % of what begins here."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": address}


async def cpu_us(tenant: Tenant, ours: Group, advance: Callable[[], None]) -> float:
    """Report for 10 s; give the CPU of our process per report."""
    bodies = bodies_of("tracing")
    await call(tenant, bodies, CONNECTIONS, WARM_S)
    used = ours.cpu_s()
    answers = await call(tenant, bodies, CONNECTIONS, SECONDS, advance)
    return (ours.cpu_s() - used) / len(answers.accepted_in) * 1e6


def figures_of(off: Sequence[float], on: Sequence[float]) -> list[Figure]:
    """Compare the least of each."""
    return [
        Figure("tracing", "CPU of ours, off", min(off), "µs/report"),
        Figure("tracing", "CPU of ours, on", min(on), "µs/report"),
        Figure("tracing", "on / off", min(on) / min(off), "times", RATIO, most=True),
    ]
