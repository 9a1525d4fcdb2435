"""Compressed bodies: opened up to a bound, so that a small body cannot become a large one in here."""

import asyncio
import zlib
from collections.abc import Callable

import cramjam

from libs.errors import Malformed, TooLarge

INLINE_MAX_BYTES = 64 << 10
"""Longer bodies are opened in a thread: 8 MiB take about 30 ms."""
GZIP_MEMBERS_MAX = 64

_GZIP_BITS = 31


async def decompress(encoding: str, body: bytes, bytes_max: int) -> bytes:
    """Open a body in one of `ENCODINGS`. Raises TooLarge over `bytes_max` opened, Malformed for what is none."""
    opening = ENCODINGS[encoding]
    if len(body) <= INLINE_MAX_BYTES:
        return opening(body, bytes_max)
    return await asyncio.to_thread(opening, body, bytes_max)


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    room = bytes_max + 1
    for _ in range(GZIP_MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP_BITS)
        try:
            parts.append(member.decompress(body, room))
        except zlib.error as error:
            raise Malformed(f"the body is not gzip: {error}") from None
        room -= len(parts[-1])
        if room <= 0:
            raise _too_large(bytes_max)
        if not member.eof:
            raise Malformed("the body is not gzip: it ends too early")
        body = member.unused_data
        if not body:
            return b"".join(parts)
    raise Malformed(f"the body has more than {GZIP_MEMBERS_MAX} gzip members")


def _unzstd(body: bytes, bytes_max: int) -> bytes:
    opened = bytearray(bytes_max + 1)
    try:
        length = cramjam.zstd.decompress_into(body, opened)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise _too_large(bytes_max) from None
        raise Malformed(f"the body is not zstd: {error}") from None
    if length > bytes_max:
        raise _too_large(bytes_max)
    return bytes(memoryview(opened)[:length])


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body is longer than {bytes_max} bytes when it is decompressed")


ENCODINGS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": _gunzip, "zstd": _unzstd}
