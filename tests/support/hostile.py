"""A receiver that answers in raw bytes, as it is told by path: for the conformance of senders."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Step = bytes | float | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Bytes to write, seconds to wait, or something to do."""
HOLD = 30.0


async def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection hard."""
    writer.transport.abort()


def endless(piece: bytes, pieces_max: int = 4_000) -> Step:
    """Write a piece again and again, until the other side hangs up."""

    async def write(writer: asyncio.StreamWriter) -> None:
        for _ in range(pieces_max):
            writer.write(piece)
            await writer.drain()

    return write


def drip(text: bytes, pause_s: float) -> list[Step]:
    """Write byte by byte with a pause after each."""
    return [step for place in range(len(text)) for step in (text[place : place + 1], pause_s)]


class Hostile:
    """Answers each path by its script; keeps what was asked."""

    def __init__(self, scripts: Mapping[str, Sequence[Step]]) -> None:
        self.scripts = dict(scripts)
        self.connections = 0
        self.heads: list[str] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Hostile"]:
        """Listen on a free port of 127.0.0.1."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
            tasks.discard(task)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=256)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        await reader.readexactly(int(lengths[0].partition(":")[2]))
        steps = self.scripts[head.split(" ")[1].lstrip("/")]
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await step(writer)
        return bool(steps) and b"keep" in head.encode()  # only paths that say so are answered twice


class Authority:
    """Makes certificates; `path` is the file of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
        self.path = directory / "authority.pem"
        now = datetime.now(UTC)
        made = self._sign(self._name, self._key.public_key(), (now - timedelta(days=9), now + timedelta(days=9)), None)
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str, days: tuple[float, float] = (-1, 1), *, own: bool = False) -> ssl.SSLContext:
        """Make the server's side for a host, valid between these days from now; `own`: signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        span = (datetime.now(UTC) + timedelta(days=days[0]), datetime.now(UTC) + timedelta(days=days[1]))
        made = self._sign(name, key.public_key(), span, host, key if own else None)
        place = self._directory / f"{host}-{days[0]}-{days[1]}-{own}.pem"
        form = serialization.PrivateFormat.PKCS8
        place.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place)
        return context

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        span: tuple[datetime, datetime],
        host: str | None,
        own: ec.EllipticCurvePrivateKey | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if own else self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(span[0])
            .not_valid_after(span[1])
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(own or self._key, hashes.SHA256())
