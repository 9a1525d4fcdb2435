"""Kafka's program: fetched once by Maven into a cache, each file compared with the committed list of checksums."""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from libs.embedded import processes
from libs.embedded.processes import ServerFailed, log

VERSION = "4.3.1"
JAVA_MIN = 17
FETCH_S = 300.0

_HERE = Path(__file__).parent
POM = _HERE / "pom.xml"
CHECKSUMS = _HERE / "checksums.txt"


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


def cache_directory() -> Path:
    """Return where fetched programs are kept: one place for all data directories, readable for the servers' account."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen) / "activities"
    return Path("/var/cache/activities") if os.geteuid() == 0 else Path.home() / ".cache" / "activities"


def find_program(cache: Path) -> Program:
    """Return the program, fetching it when the cache does not hold it yet."""
    java = find_java()
    place = cache / f"kafka-{VERSION}"
    processes.make_reachable(cache, processes.server_account())
    if not place.exists():
        with processes.locked(cache / "lock", FETCH_S):
            if not place.exists():
                fetch(place)
    return Program(java, tuple(place / name for name in sorted(read_checksums(CHECKSUMS))), cache / archive_name(java))


def find_java() -> Path:
    """Return the `java` of JAVA_HOME or PATH if it is new enough; read from its release file, without starting it."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        raise ServerFailed(
            f"no Java {JAVA_MIN} or newer on PATH or in JAVA_HOME; install it (Debian: apt-get install "
            "default-jre-headless), or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours"
        )
    java = Path(found).resolve()
    release = java.parent.parent / "release"
    version = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.exists() else None
    if version is not None and int(version.group(1)) < JAVA_MIN:
        raise ServerFailed(f"{java} is Java {version.group(1)}, needed is {JAVA_MIN} or newer")
    return java


def archive_name(java: Path) -> str:
    """Name the class-data archive after the Java it is valid for: another build of Java gets another one."""
    modules = java.parent.parent / "lib" / "modules"
    stamp = modules.stat() if modules.exists() else java.stat()
    digest = hashlib.sha256(f"{java}:{stamp.st_size}:{stamp.st_mtime_ns}".encode()).hexdigest()
    return f"kafka-{VERSION}-{digest[:12]}.jsa"


def fetch(place: Path) -> None:
    """Let Maven fetch the jars beside `place`, compare them, and rename them into place as a whole."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerFailed(
            f"Kafka {VERSION} has to be fetched once and Maven (mvn) is not on PATH; install it "
            "(Debian: apt-get install maven), or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours"
        )
    log.info("fetching Kafka %s through Maven (45 MB, once)", VERSION)
    fresh = place.with_name(place.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
    processes.run([maven, "-q", "-B", "-C", "-f", str(POM), *goal], FETCH_S, None)
    compare(fresh, read_checksums(CHECKSUMS))
    for jar in fresh.iterdir():
        jar.chmod(0o644)
    fresh.chmod(0o755)
    fresh.rename(place)


def read_checksums(path: Path) -> dict[str, str]:
    """Return SHA-256 by file name, as `sha256sum` writes them."""
    pairs = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return {name: digest for digest, name in pairs}


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
            f"what Maven fetched is not what was tested, so it is not used: {'; '.join(wrong[:5])}; "
            "remove those artifacts from the local Maven repository and try again"
        )
