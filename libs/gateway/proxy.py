"""The proxy of our own: streams both ways, bounded; tries another process only where nothing can happen twice."""

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from libs.gateway import answers
from libs.gateway.replicas import Replica
from libs.gateway.upstreams import Upstreams

BODY_MAX_BYTES = 32 << 20
"""More than any route takes: the services answer for their own bounds, this one guards the gateway."""
IN_HAND_MAX = 1_024
CONNECT_S = 2.0
ANSWER_S = 60.0
IDLE_S = 2.0
"""How long an unused connection to a service is kept: less than a stopping process waits for (`DRAIN_S`)."""
WHOLE_MAX_BYTES = 256 << 10
"""Answers up to this size are passed on in one piece."""
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


class TooLarge(Exception):
    """A body grows beyond what any route takes."""


class BrokenOff(aiohttp.ClientError):
    """A process broke off after something was sent to it."""


class Proxy:
    """Hands requests on to the processes of a service."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._in_hand = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
            auto_decompress=False, skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(), max_line_size=64 << 10, max_field_size=64 << 10,
            middlewares=(_send_once,),
        )  # fmt: skip

    async def close(self) -> None:
        """Close the connections to the services."""
        await self._session.close()

    async def pass_on(self, request: web.BaseRequest, service: str) -> web.StreamResponse:
        """Let a service answer a request."""
        request_id = answers.request_id_of(request.headers)
        refused = self._refuse(request)
        if refused:
            return answers.problem(refused, request_id)
        self._in_hand += 1
        try:
            return await self._try_each(request, service, request_id)
        except TooLarge:
            return answers.problem(413, request_id)
        finally:
            self._in_hand -= 1

    def _refuse(self, request: web.BaseRequest) -> int | None:
        if self._in_hand >= IN_HAND_MAX:
            return 503
        if (request.content_length or 0) > BODY_MAX_BYTES:
            return 413
        expected = request.headers.get(hdrs.EXPECT, "100-continue")
        return None if expected.lower() == "100-continue" else 417

    async def _try_each(self, request: web.BaseRequest, service: str, request_id: str) -> web.StreamResponse:
        """Try the processes in turn: the next one after one that took no connection, or when asking is harmless."""
        status = 503
        for replica in self._upstreams.in_turn(service):
            try:
                answer = await self._ask(replica, request, request_id)
                whole = await _read_whole(answer)
            except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
                continue
            except (aiohttp.ClientError, ConnectionError) as error:
                if isinstance(error.__cause__, TooLarge):
                    raise TooLarge from error
                status = 504 if isinstance(error, TimeoutError) else 502
                if request.method in SAFE and status == 502:
                    continue
                break
            return whole or await _stream(request, answer)
        return answers.problem(status, request_id)

    async def _ask(self, replica: Replica, request: web.BaseRequest, request_id: str) -> aiohttp.ClientResponse:
        headers = answers.end_to_end(request.headers)
        headers.pop(hdrs.EXPECT, None)
        headers["X-Request-ID"] = request_id
        before = headers.get(hdrs.X_FORWARDED_FOR)
        headers[hdrs.X_FORWARDED_FOR] = f"{before}, {request.remote}" if before else str(request.remote)
        headers.setdefault(hdrs.X_FORWARDED_PROTO, request.scheme)
        url = URL(f"http://{replica.address}{request.raw_path}", encoded=True)
        body = _body_of(request) if request.body_exists else None
        return await self._session.request(request.method, url, headers=headers, data=body, allow_redirects=False)


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again by itself, as it does with errors that it knows."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method in SAFE:
            raise
        raise BrokenOff from error.__cause__ or error


async def _body_of(request: web.BaseRequest) -> AsyncIterator[bytes]:
    if hdrs.EXPECT in request.headers:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > BODY_MAX_BYTES:
            raise TooLarge
        yield chunk


async def _read_whole(answer: aiohttp.ClientResponse) -> web.Response | None:
    """Read a small answer to its end before any of it is passed on; None for one that is large or of unknown size."""
    if answer.content_length is None or answer.content_length > WHOLE_MAX_BYTES:
        return None
    async with answer:
        headers = answers.end_to_end(answer.headers)
        return web.Response(body=await answer.read(), status=answer.status, headers=headers)


async def _stream(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Pass an answer on as it comes; one that breaks off breaks off here too, so that nobody takes it for whole."""
    async with answer:
        response = web.StreamResponse(status=answer.status, headers=answers.end_to_end(answer.headers))
        await response.prepare(request)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.abort()
        else:
            await response.write_eof()
        return response
