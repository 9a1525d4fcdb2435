"""python -m bench.webhooks.floor BOOTSTRAP DATABASE PORT: the least that an event's way to a receiver takes here.

What a dispatcher has to do, and nothing of ours: fetch, commit a row, POST on a connection that is open. It hears a
topic that the service does not, and posts to `/ok/floor` of the sink.
"""

import asyncio
import gc
import sys
from uuid import UUID, uuid4

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer

TOPIC = "activity.created"
READY = b"ready\n"
PATIENCE_MS = 10_000
HEAD = "POST /ok/floor HTTP/1.1\r\nhost: 127.0.0.1\r\nwebhook-id: {}\r\ncontent-length: {}\r\n\r\n"


async def main(servers: str, url: str, port: int) -> None:
    """Hand events on until the process is ended."""
    connection = await asyncpg.connect(url)
    await connection.execute("create table if not exists floor (id uuid primary key, body bytea)")
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=servers, enable_auto_commit=False, check_crcs=False, consumer_timeout_ms=PATIENCE_MS
    )
    await consumer.start()
    await consumer.seek_to_end()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    gc.freeze()
    while True:
        found = await consumer.getmany(timeout_ms=PATIENCE_MS)
        bodies = [record.value for records in found.values() for record in records]
        if bodies:
            ids = [uuid4() for _ in bodies]
            await connection.execute("insert into floor select * from unnest($1::uuid[], $2::bytea[])", ids, bodies)
            transport.write(b"".join(map(_request, ids, bodies)))


def _request(id_: UUID, body: bytes) -> bytes:
    return HEAD.format(id_, len(body)).encode() + body


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
