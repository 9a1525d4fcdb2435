"""What `./activities webhooks` does: listen on a developer's machine, test an endpoint, watch deliveries."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from cli import output
from cli.place import Trouble

TIMEOUT_S, POLL_S, TAIL_S = 30.0, 20.0, 1.0
FORWARD_TIMEOUT_S = 30.0
Found = dict[str, Any]


class Client:
    """The few requests that these commands make, with the key of a business."""

    def __init__(self, url: str, api_key: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"x-api-key": api_key}, timeout=TIMEOUT_S, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Found:
        """Make a request. Raises Trouble with what was answered."""
        try:
            answer = self._client.request(method, f"/api/webhooks{path}", json=body, params=query)
        except httpx.HTTPError as error:
            raise Trouble(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if answer.status_code >= 300:
            raise Trouble(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        found: Found = answer.json() if answer.content else {}
        return found


def listen(client: Client, forward_to: str, event_types: list[str], expression: str, count: int | None) -> None:
    """Receive a business's webhooks and hand each on to a URL, printing what it was and how it was answered."""
    with _listener(client, event_types, expression) as listener, _forwarder() as forwarder:
        output.say(f"listening for {', '.join(listener['event_types'])}; signed with {listener['secret']}")
        seen = 0
        while count is None or seen < count:
            for one in client.ask("POST", f"/listeners/{listener['id']}/poll", {"wait_s": POLL_S})["results"]:
                output.result.print(f"{one['body']}", markup=False)
                output.result.print(f"  {one['id']} → {_forward(forwarder, forward_to, one)}", markup=False)
                seen += 1


def test(client: Client, endpoint_id: str, event_type: str | None) -> bool:
    """Send a signed sample to an endpoint and print everything about it; tell whether it was delivered."""
    body = {"event_type": event_type} if event_type else {}
    found = client.ask("POST", f"/endpoints/{endpoint_id}/test", body)
    output.print_json(found)
    return bool(found["delivered"])


def tail(client: Client, endpoint_id: str | None, once: bool) -> None:
    """Print deliveries as they change: the latest first of all, then what comes."""
    query = {"limit": 20} | ({"endpoint_id": endpoint_id} if endpoint_id else {})
    held: dict[str, tuple[str, int]] = {}
    while True:
        latest = client.ask("GET", "/deliveries", None, **query)["results"]
        for one in reversed(latest):
            state = (one["status"], one["attempts"])
            if held.get(one["id"]) != state:
                output.result.print(_line(one), markup=False)
            held[one["id"]] = state
        if once:
            return
        query["limit"] = 200
        time.sleep(TAIL_S)


def _line(one: Found) -> str:
    error = f"  {one['last_error']}" if one["last_error"] else ""
    again = f"  again at {one['next_at']}" if one["status"] == "pending" and one["attempts"] else ""
    what = f"{one['event_type']:<22}  {one['status']:<9}  {one['attempts']}"
    return f"{one['created_at']}  {one['id']}  {what}{error}{again}"


@contextmanager
def _listener(client: Client, event_types: list[str], expression: str) -> Iterator[Found]:
    """Begin to listen, and end it whatever happens."""
    made = client.ask("POST", "/listeners", {"event_types": event_types, "filter": {"expression": expression}})
    try:
        yield made
    finally:
        client.ask("DELETE", f"/endpoints/{made['id']}")


@contextmanager
def _forwarder() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=FORWARD_TIMEOUT_S, trust_env=False) as client:
        yield client


def _forward(forwarder: httpx.Client, url: str, one: Found) -> str:
    began = time.monotonic()
    try:
        answer = forwarder.post(url, content=one["body"].encode(), headers=one["headers"])
    except httpx.HTTPError as error:
        return f"{url}: {str(error) or type(error).__name__}"
    return f"{url}: {answer.status_code} in {(time.monotonic() - began) * 1000:.0f} ms"
