"""`doctor`: what of this machine is there, what is missing, and how to get it. Nothing is changed or fetched."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cli import output
from cli.place import Place, Trouble
from cli.supervisor import PORT, is_free_for_us
from libs.embedded import kafka_files, packages, postgres, processes
from libs.embedded.processes import ServerFailed

MEMORY_MIN_MIB = 1_024  # seen: 650 MiB with everything in one process under load
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for. `advice` says how to get it; not `well` with advice means: it is missing."""

    name: str
    well: bool
    found: str
    advice: str = ""


def examine(place: Place) -> list[Finding]:
    """Look for everything that `up` needs."""
    looks: list[Callable[[], Finding]] = [
        _python,
        _postgres,
        _java,
        _kafka,
        _account,
        lambda: _data_directory(place),
        lambda: _disk(place),
        _memory,
        lambda: _port(place),
    ]
    return [look() for look in looks]


def is_well(findings: list[Finding]) -> bool:
    """Say whether `up` has what it needs."""
    return all(finding.well for finding in findings)


def show(findings: list[Finding]) -> None:
    """Print the findings for a person."""
    for finding in findings:
        mark = "[green]ok[/]     " if finding.well else "[red]missing[/]"
        output.result.print(f"  {mark} {finding.name:<15}", end="")
        output.result.print(finding.found, markup=False)
        if finding.advice:
            output.result.print(f"{'':<26}{finding.advice}", markup=False)


def _python() -> Finding:
    return Finding("python", True, f"{platform.python_version()} in {sys.prefix}")


def _postgres() -> Finding:
    if os.environ.get("DATABASE_URL"):
        return Finding("postgresql", True, "the server named by DATABASE_URL")
    usable = postgres.installed_binaries()
    if usable:
        return Finding("postgresql", True, f"{max(usable)} in {usable[max(usable)]}")
    return _from_package("postgresql", "postgres", "postgresql", "DATABASE_URL")


def _java() -> Finding:
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return Finding("java", True, "not needed: Kafka is the one named by KAFKA_BOOTSTRAP_SERVERS")
    java = kafka_files.installed_java()
    if java is not None:
        return Finding("java", True, f"{kafka_files.java_major(java) or 'of unknown version'} in {java}")
    return _from_package("java", "java", "default-jre-headless", "KAFKA_BOOTSTRAP_SERVERS")


def _from_package(name: str, which: str, debian: str, variable: str) -> Finding:
    """Say that a program comes, or will come, as a Python package, and how to get a better one."""
    if _may_install():
        return Finding(name, True, f"none; `up` installs {debian} with apt-get, once", _install(debian, variable))
    place = packages.place_of(which, packages.cache_directory())
    fetched = f"in {place}" if place.exists() else "is fetched by `up`, once"
    if platform.machine() not in ("x86_64", "aarch64"):
        return Finding(name, False, f"none, and no package for {platform.machine()}", _install(debian, variable))
    return Finding(name, True, f"none on this machine; {packages.HOLDS[which]} {fetched}", _install(debian, variable))


def _may_install() -> bool:
    """Say whether the launcher installs what is missing."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(debian: str, variable: str) -> str:
    who = "" if os.geteuid() == 0 else "as root: "
    way = (
        f"{who}apt-get install {debian}" if shutil.which("apt-get") else f"install {debian} with this system's packages"
    )
    return f"{way}; or set {variable}"


def _kafka() -> Finding:
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return Finding("kafka", True, os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    place = kafka_files.place_in(packages.cache_directory())
    if place.exists():
        return Finding("kafka", True, f"{kafka_files.VERSION} in {place}")
    maven = shutil.which("mvn") or (_may_install() and "the mvn that it installs with apt-get")
    how = f"with {maven}" if maven else "without mvn, which is not here"
    return Finding("kafka", True, f"{kafka_files.VERSION} is fetched by `up`, once, {how}")


def _account() -> Finding:
    try:
        account = processes.server_account()
    except ServerFailed as error:
        return Finding("account", False, "none to run servers as", str(error))
    return Finding(
        "account", True, f"servers run as {account.name}" if account else f"servers run as we do ({os.geteuid()})"
    )


def _data_directory(place: Place) -> Finding:
    try:
        place.refuse_unusable()
    except (Trouble, ServerFailed) as error:
        return Finding("data directory", False, str(place.directory), str(error))
    return Finding("data directory", True, f"{place.directory}{'' if place.directory.exists() else ' (made by `up`)'}")


def _disk(place: Place) -> Finding:
    free = place.free_bytes() >> 20
    try:
        place.refuse_full_disk()
    except Trouble as error:
        return Finding("disk", False, f"{free:,} MiB free", str(error))
    return Finding("disk", True, f"{free:,} MiB free")


def _memory() -> Finding:
    with suppress(OSError, StopIteration):
        line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        available = int(line.split()[1]) >> 10
        advice = f"at least {MEMORY_MIN_MIB:,} MiB are needed; end other programs, or use a larger machine"
        well = available >= MEMORY_MIN_MIB
        return Finding("memory", well, f"{available:,} MiB available", "" if well else advice)
    return Finding("memory", True, "unknown: this system has no /proc/meminfo")


def _port(place: Place) -> Finding:
    if is_free_for_us(place, PORT):
        return Finding("port", True, f"{PORT} is free, or ours")
    return Finding("port", True, f"{PORT} is taken by another program; `up` uses the next free one, or that of --port")
