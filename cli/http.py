"""The few requests the command line makes, with the standard library: it is there at once."""

import http.client
import json
from typing import Any

from cli.place import Trouble


def ask(port: int, method: str, path: str, key: str | None = None, body: Any = None) -> tuple[int, Any]:
    """Make a request to the services and return status and decoded body. Raises OSError when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    try:
        return answer.status, json.loads(content)
    except ValueError:
        return answer.status, content.decode(errors="replace")


def is_ready(port: int, key: str | None = None) -> bool:
    """Say whether the services are ready; with a key: whether every copy of the keys knows it."""
    try:
        return ask(port, "GET", "/readyz", key)[0] == 200
    except OSError:
        return False


def make(port: int, path: str, key: str, body: Any) -> dict[str, Any]:
    """Make something by POST and return it. Raises Trouble with the answer when it is refused."""
    status, content = ask(port, "POST", path, key, body)
    if status != 201 or not isinstance(content, dict):
        raise Trouble(f"POST {path} answered {status}: {content}")
    return content
