"""`client`: a typed Python client, made by openapi-python-client from the description of the routes."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cli.place import ROOT, Trouble
from libs.embedded import packages

MAKE_S = 120.0
PACKAGE = "activities_client"
CONFIGURATION = {
    "package_name_override": PACKAGE,
    "post_hooks": [],
    "content_type_overrides": {
        "application/x-ndjson": "application/octet-stream",
        "application/problem+json": "application/json",
        "application/cloudevents+json": "application/json",
        "application/cloudevents-batch+json": "application/json",
    },
}


def write(directory: Path) -> str:
    """Write the package `activities_client` into `directory`; it needs httpx, attrs. Raises Trouble, ServerFailed."""
    place = packages.fetch("client", packages.cache_directory())
    described = _described()
    with tempfile.TemporaryDirectory() as made:
        description, configuration = Path(made) / "openapi.json", Path(made) / "configuration.json"
        description.write_text(json.dumps(described))
        configuration.write_text(json.dumps(CONFIGURATION))
        words = [f"--path={description}", f"--config={configuration}", f"--output-path={directory / PACKAGE}"]
        _run(
            [sys.executable, "-m", "openapi_python_client", "generate", *words, "--meta=none", "--overwrite"],
            {**os.environ, "PYTHONPATH": str(place)},
        )
    count = sum(len(operations) for operations in described["paths"].values())
    return f"wrote {directory / PACKAGE}: {count} operations; it needs httpx and attrs"


def _described() -> dict[str, Any]:
    """Ask for the description; the client's modules are named by service, its functions without it."""
    described: dict[str, Any] = json.loads(_run([sys.executable, "-m", "services", "openapi"], dict(os.environ)))
    for operations in described["paths"].values():
        for operation in operations.values():
            service = operation["tags"][0].replace("-", "_")
            operation["operationId"] = operation["operationId"].removeprefix(f"{service}_")
    return described


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=MAKE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{' '.join(command[1:4])} did not end within {MAKE_S:g} s") from error
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command[1:4])} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
