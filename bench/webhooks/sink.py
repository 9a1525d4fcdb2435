"""python -m bench.webhooks.sink PORT: a receiver that notes what comes and when, and costs little itself.

The path says how it answers (`BEHAVIOURS`, `/ok` for all else). `GET /-/count`, `GET /-/log` and `POST /-/clear` are
for the bench: a line of the log is `monotonic seconds, status, webhook-id, activity, path`.
"""

import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable

import uvloop

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
DOWN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\ndown"
HEAD = b"HTTP/1.1 200 OK\r\n"
ACTIVITY = b'"activity_id":"'
DRIP_S = 0.2
FLAKY_SHARE = 5
Line = tuple[float, int, bytes, bytes, bytes]


class Sink:
    """What was received."""

    def __init__(self) -> None:
        self.log: list[Line] = []
        self.seen: Counter[bytes] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task until it ends."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Receiver(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take whole requests out of what has come."""
        at = time.monotonic()
        data = self.held + data if self.held else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            place = head.find(b"content-length: ")
            length = int(head[place + 16 : place + 26].split(b"\r", 1)[0]) if place >= 0 else 0
            if len(data) < end + 4 + length:
                break
            self.receive(at, data[: end + 4], head, data[end + 4 : end + 4 + length])
            data = data[end + 4 + length :]
        self.held = data

    def receive(self, at: float, raw: bytes, head: bytes, body: bytes) -> None:
        """Note a request and answer it."""
        path = raw[raw.find(b" ") + 1 :].split(b" ", 1)[0]
        if path.startswith(b"/-/"):
            self.transport.write(self.control(path))
            return
        place = head.find(b"webhook-id: ") + 12
        identity = head[place : place + 36]
        found = body.find(ACTIVITY) + len(ACTIVITY)
        behave = BEHAVIOURS.get(b"/" + path.split(b"/", 2)[1])
        status = 200
        if behave is None:
            self.transport.write(OK)
        else:
            status = behave(self, identity)
        self.sink.log.append((at, status, identity, body[found : found + 36], path))

    def control(self, path: bytes) -> bytes:
        """Answer the bench."""
        log = self.sink.log
        if path == b"/-/clear":
            log.clear()
            self.sink.seen.clear()
        text = str(len(log)).encode()
        if path == b"/-/log":
            lines = (b"%.6f %d %s %s %s" % line for line in log)
            text = b"\n".join(lines)
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)

    def flaky(self, identity: bytes) -> int:
        """Fail a fifth of the deliveries, each at its first attempt."""
        self.sink.seen[identity] += 1
        fails = int(identity[-4:], 16) % FLAKY_SHARE == 0 and self.sink.seen[identity] == 1
        self.transport.write(DOWN if fails else OK)
        return 500 if fails else 200

    def down(self, identity: bytes) -> int:
        """Fail."""
        self.transport.write(DOWN)
        return 500

    def hang(self, identity: bytes) -> int:
        """Say nothing, ever."""
        return 0

    def slow(self, identity: bytes) -> int:
        """Answer after 50 ms."""
        asyncio.get_running_loop().call_later(0.05, self.transport.write, OK)
        return 200

    def close(self, identity: bytes) -> int:
        """Cut the connection in the middle of the answer."""
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        self.transport.close()
        return 0

    def headers(self, identity: bytes) -> int:
        """Answer with 10,000 headers."""
        self.transport.write(HEAD + b"".join(b"x-%d: y\r\n" % n for n in range(10_000)) + b"\r\n")
        return 0

    def bomb(self, identity: bytes) -> int:
        """Answer with what would be 1 GiB once unpacked."""
        self.stream(b"content-encoding: gzip\r\ncontent-length: 1000000\r\n\r\n\x1f\x8b", b"\x00" * 1000, 1_000, 0)
        return 200

    def drip_headers(self, identity: bytes) -> int:
        """Send a header now and then, for ever."""
        self.stream(b"", b"x: y\r\n", 10**6, DRIP_S)
        return 0

    def drip_body(self, identity: bytes) -> int:
        """Send a byte now and then, for ever."""
        self.stream(b"content-length: 1000000\r\n\r\n", b"x", 10**6, DRIP_S)
        return 200

    def endless(self, identity: bytes) -> int:
        """Send chunks for ever, as fast as they go."""
        self.stream(b"transfer-encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n", 10**9, 0)
        return 200

    def huge(self, identity: bytes) -> int:
        """Send 200 MB."""
        self.stream(b"content-length: 200000000\r\n\r\n", b"x" * 100_000, 2_000, 0)
        return 200

    def stream(self, begin: bytes, piece: bytes, count: int, pause_s: float) -> None:
        """Write pieces until the other side has had enough."""

        async def write() -> None:
            self.transport.write(HEAD + begin)
            for _ in range(count):
                if self.transport.is_closing():
                    return
                self.transport.write(piece)
                await asyncio.sleep(pause_s or 0.01 * (self.transport.get_write_buffer_size() > 1 << 20))

        self.sink.keep(asyncio.get_running_loop().create_task(write()))


BEHAVIOURS: dict[bytes, Callable[[Receiver, bytes], int]] = {
    b"/flaky": Receiver.flaky, b"/down": Receiver.down, b"/hang": Receiver.hang, b"/slow": Receiver.slow,
    b"/close": Receiver.close, b"/headers": Receiver.headers, b"/bomb": Receiver.bomb, b"/huge": Receiver.huge,
    b"/drip-headers": Receiver.drip_headers, b"/drip-body": Receiver.drip_body, b"/endless": Receiver.endless,
}  # fmt: skip
HOSTILE = ("close", "headers", "bomb", "huge", "drip-headers", "drip-body", "endless", "hang")


async def main(port: int) -> None:
    """Receive until the process is ended."""
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(sink), "127.0.0.1", port, backlog=1024)
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
