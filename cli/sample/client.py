"""Requests of the sample: patient with a busy system, plain about anything else."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from cli.place import Trouble

PATIENCE_S = 120.0
RETRY_MAX_S = 10.0
RETRIED = (429, 503)


class Client:
    """One origin. `key` and `headers` of a request say who is calling."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self.url = url

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def get(self, path: str, headers: Mapping[str, str]) -> Any:
        """Read something. Raises Trouble."""
        return self._ask("GET", path, headers, None)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any] | bytes) -> Any:
        """Send JSON, or bytes of lines of JSON. Raises Trouble, with the answer, for anything but success."""
        return self._ask("POST", path, headers, body)

    def put(self, path: str, headers: Mapping[str, str], body: Any) -> Any:
        """Put JSON in the place of what is there. Raises Trouble, with the answer, for anything but success."""
        return self._ask("PUT", path, headers, body)

    def patch(self, path: str, headers: Mapping[str, str], body: Any) -> Any:
        """Change what the body names. Raises Trouble, with the answer, for anything but success."""
        return self._ask("PATCH", path, headers, body)

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._send(method, path, headers, body)
            if answer.status_code not in RETRIED:
                break
            wait_s = _retry_after_s(answer)
            if time.monotonic() + wait_s > deadline:
                raise Trouble(f"{method} {path} was put off for {PATIENCE_S:g} s: {answer.text[:500]}")
            time.sleep(wait_s)
        if not answer.is_success:
            raise Trouble(f"{method} {path} answered {answer.status_code}: {answer.text[:1000]}")
        return answer.json()

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> httpx.Response:
        try:
            if isinstance(body, bytes):
                lines = {**headers, "content-type": "application/x-ndjson"}
                return self._http.request(method, path, headers=lines, content=body)
            return self._http.request(method, path, headers=headers, json=body)
        except httpx.ConnectError as error:
            raise Trouble(f"nothing answers at {self.url}; ./activities up first") from error
        except httpx.TransportError as error:
            raise Trouble(
                f"{method} {self.url}{path} was not answered ({error!r}); look at ./activities status"
            ) from error


def _retry_after_s(answer: httpx.Response) -> float:
    try:
        return min(max(float(answer.headers.get("retry-after", "1")), 0.1), RETRY_MAX_S)
    except ValueError:
        return 1.0
