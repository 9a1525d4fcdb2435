"""What `./activities webhooks` does: listen on a developer's machine, test an endpoint, watch deliveries."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli import output
from cli.place import Trouble

TIMEOUT_S, POLL_S, TAIL_S, AGAIN_S = 30.0, 20.0, 1.0, 1.0
FORWARD_TIMEOUT_S = 30.0
Found = dict[str, Any]


class Away(Trouble):
    """The API does not answer just now, or says that it cannot."""


class Missing(Trouble):
    """What was asked for is not there."""


class Client:
    """The few requests that these commands make, with the key of a business."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = check_url("--api", url)
        headers = {"x-api-key": check_key(api_key)}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Found:
        """Make a request. Raises Trouble with what was answered: Away, Missing, or what was wrong."""
        try:
            answer = self._client.request(method, f"/api/webhooks{path}", json=body, params=query)
        except httpx.TransportError as error:
            raise Away(f"{self._url} does not answer: {_reason(error)}") from error
        if answer.status_code < 300:
            found: Found = answer.json() if answer.content else {}
            return found
        kind = Away if answer.status_code >= 500 else Missing if answer.status_code == 404 else Trouble
        raise kind(f"{self._url} answered {answer.status_code}: {_detail(answer)}")


def check_url(option: str, url: str) -> str:
    """Return the address of an option. Raises Trouble when it is none."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or any(letter.isspace() for letter in url):
        raise Trouble(f"{option} must be an address such as http://127.0.0.1:3000/hook, is {url!r}")
    return url


def check_key(text: str) -> str:
    """Return the key of an option. Raises Trouble for what no header can hold."""
    if not text.isascii() or not text.isprintable():
        raise Trouble("--api-key must be a key such as ak_…, without spaces or line ends")
    return text


def _detail(answer: httpx.Response) -> str:
    """Say what was wrong, in the words of the answer."""
    with suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["detail"])
    return answer.text[:500]


def _reason(error: httpx.TransportError) -> str:
    """Say why there was no answer, as people say it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return "it took too long" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__


def listen(client: Client, forward_to: str, event_types: list[str], expression: str, count: int | None) -> None:
    """Receive a business's webhooks and hand each on to a URL, printing what it was and how it was answered."""
    wanted = {"event_types": event_types, "filter": {"expression": expression}}
    seen = 0
    with _forwarder() as forwarder:
        while count is None or seen < count:
            with suppress(Missing), _listener(client, wanted) as listener:  # it was ended meanwhile: begin anew
                poll = partial(_poll, client, listener["id"])
                while count is None or seen < count:
                    for one in patiently(poll)["results"]:
                        output.result.print(f"{one['body']}", markup=False)
                        output.result.print(f"  {one['id']} → {_forward(forwarder, forward_to, one)}", markup=False)
                        seen += 1


def _poll(client: Client, listener_id: str, at_once: bool) -> Found:
    return client.ask("POST", f"/listeners/{listener_id}/poll", {"wait_s": 0.0 if at_once else POLL_S})


def patiently(ask: Callable[[bool], Found]) -> Found:
    """Ask again and again while the API is away, and say so once. Raises Trouble for everything else.

    `ask` is told whether it is to be answered at once, which shows that the API is there again.
    """
    away = False
    while True:
        try:
            found = ask(away)
        except Away as trouble:
            if not away:
                output.say(f"{trouble}; asking again until it does")
            away = True
            time.sleep(AGAIN_S)
        else:
            if away:
                output.say("it answers again")
            return found


def test(client: Client, endpoint_id: str, event_type: str | None) -> bool:
    """Send a signed sample to an endpoint and print everything about it; tell whether it was delivered."""
    body = {"event_type": event_type} if event_type else {}
    found = client.ask("POST", f"/endpoints/{endpoint_id}/test", body)
    output.print_json(found)
    return bool(found["delivered"])


def tail(client: Client, endpoint_id: str | None, once: bool) -> None:
    """Print deliveries as they change: the latest first of all, then what comes."""
    query = {"limit": 20} | ({"endpoint_id": endpoint_id} if endpoint_id else {})
    latest = client.ask("GET", "/deliveries", None, **query)["results"]
    if endpoint_id and not latest:
        client.ask("GET", f"/endpoints/{endpoint_id}")  # is there such an endpoint at all?
    held = _print_changed(latest, {})
    query["limit"] = 200
    while not once:
        time.sleep(TAIL_S)
        held = _print_changed(patiently(lambda _: client.ask("GET", "/deliveries", None, **query))["results"], held)


def _print_changed(latest: list[Found], held: dict[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Print what is not as it was; return how it is."""
    now = {one["id"]: (one["status"], one["attempts"]) for one in latest}
    for one in reversed(latest):
        if held.get(one["id"]) != now[one["id"]]:
            output.result.print(_line(one), markup=False)
    return held | now


def _line(one: Found) -> str:
    error = f"  {one['last_error']}" if one["last_error"] else ""
    again = f"  again at {one['next_at']}" if one["status"] == "pending" and one["attempts"] else ""
    what = f"{one['event_type']:<22}  {one['status']:<9}  {one['attempts']}"
    return f"{one['created_at']}  {one['id']}  {what}{error}{again}"


@contextmanager
def _listener(client: Client, wanted: Found) -> Iterator[Found]:
    """Begin to listen, and end it whatever happens; what cannot be ended ends by itself when nobody asks any more."""
    made = client.ask("POST", "/listeners", wanted)
    output.say(f"listening for {', '.join(made['event_types'])}; signed with {made['secret']}")
    try:
        yield made
    finally:
        with suppress(Trouble):
            client.ask("DELETE", f"/endpoints/{made['id']}")


@contextmanager
def _forwarder() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=FORWARD_TIMEOUT_S, trust_env=False) as client:
        yield client


def _forward(forwarder: httpx.Client, url: str, one: Found) -> str:
    began = time.monotonic()
    try:
        answer = forwarder.post(url, content=one["body"].encode(), headers=one["headers"])
    except httpx.TransportError as error:
        return f"{url}: not answered, {_reason(error)}"
    return f"{url}: {answer.status_code} in {(time.monotonic() - began) * 1000:.0f} ms"
