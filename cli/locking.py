"""Locked requirements: every file of every dependency by its hash, without the address of any registry."""

import subprocess
import sys
from pathlib import Path

from cli import output
from cli.place import ROOT, Trouble

SETS: dict[str, tuple[str, ...]] = {"run": (), "test": ("--extra", "test"), "dev": ("--extra", "dev")}
LOCK_S = 300.0


def lock() -> None:
    """Resolve each set on top of the one before; what pyproject.toml still allows keeps its version."""
    uv = Path(sys.executable).with_name("uv")
    before: list[str] = []
    for name, extra in SETS.items():
        output.say(f"locking requirements/{name}.txt")
        _compile([str(uv), "pip", "compile", "pyproject.toml", *extra, *before], name)
        before = ["-c", f"requirements/{name}.txt"]


def _compile(command: list[str], name: str) -> None:
    written = ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command = [*command, "--universal", "--python-version", "3.11", *written, "-q", "-o", f"requirements/{name}.txt"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LOCK_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"uv did not resolve {name} within {LOCK_S:g} s; is the package index reachable?") from error
    if done.returncode != 0:
        raise Trouble(f"uv cannot resolve {name}:\n{done.stderr.strip()}")
