"""A data directory that cannot be used is refused before anything is written, in a sentence with a way out."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import doctor, supervisor
from cli.place import ROOT, Place, Trouble
from libs.embedded import processes
from libs.embedded.processes import ServerFailed

NOBODY = 65_534


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every account may enter."""
    made = Path(tempfile.mkdtemp(prefix="activities-place-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_directory_that_an_unprivileged_user_may_not_write_in_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(directory))
    directory.chmod(0o500 if os.geteuid() else 0o711)
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        with pytest.raises(Trouble, match=rf"may not write in {directory}, .*choose another --data-dir"):
            Place(directory / "data").make()
        found = {each.name: each for each in doctor.examine(Place(directory / "data"))}
    finally:
        os.seteuid(before)
        directory.chmod(0o711)
    assert not found["data directory"].well
    assert not (directory / "data").exists()


def test_directory_that_the_servers_account_may_not_enter_is_refused_before_it_is_made(directory: Path) -> None:
    account = processes.server_account() or processes.Account("other", os.getuid() + 1, os.getgid() + 1)
    directory.chmod(0o700)
    with pytest.raises(ServerFailed, match=rf"may not enter {directory} .*chmod o\+x {directory}"):
        processes.refuse_barrier(directory / "data", account)


def test_file_in_the_place_of_the_directory_is_named(directory: Path) -> None:
    (directory / "data").write_text("")
    with pytest.raises(Trouble, match=r"data is not a directory; choose another --data-dir"):
        Place(directory / "data").make()


def test_directory_of_another_release_is_left_as_it_is(directory: Path) -> None:
    place = Place(directory / "data")
    place.make()
    (place.directory / "format").write_text("2\n")
    with pytest.raises(Trouble, match=r"has format 2 .* reads format 1\. Use that release.*reset"):
        place.make()
    assert (place.directory / "format").read_text() == "2\n"


def test_port_of_another_program_is_named(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Trouble, match=rf"port {port} is taken by another program; name another with --port"):
            supervisor.choose_port(Place(directory), port)


def test_doctor_finds_this_machine_well_and_says_where_things_are(directory: Path) -> None:
    findings = doctor.examine(Place(directory))
    assert doctor.is_well(findings), findings
    assert [each.name for each in findings if not each.found] == []


@pytest.mark.parametrize("command", [("check",), ("verify",), ("letters", "ingest"), ("sample",), ("credentials",)])
def test_command_for_an_installation_that_was_never_made_says_how_it_is(directory: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *command, "--data-dir", str(directory / "data")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"in {directory}/data yet; ./activities up makes" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (directory / "data").exists()


def test_log_that_cannot_be_written_fails_nothing() -> None:
    program = "import structlog, sys; from libs.service import logs; logs.set_up('info'); log = structlog.get_logger();"
    program += "[log.info('request', text='x' * 100) for _ in range(1000)]; sys.stdout.write('went on')"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)
    assert (done.returncode, done.stdout) == (0, b"went on")
