"""Secrets come from files where they are not in the environment."""

from pathlib import Path

import pytest

from cli import secret_files
from libs.service.settings import ServiceSettings
from services.directory.settings import Settings as DirectorySettings


def test_every_written_file_is_a_setting_of_some_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_ROLES_SECRET", "OPERATOR_KEY"):
        monkeypatch.delenv(name, raising=False)
    secret_files.write(tmp_path / "kept")
    read = DirectorySettings(_secrets_dir=tmp_path / "kept")
    assert read.database_roles_secret.get_secret_value() == (tmp_path / "kept" / "database_roles_secret").read_text()
    password = (tmp_path / "kept" / "postgres_password").read_text()
    assert read.urls("directory").owner == f"postgresql://postgres:{password}@postgres:5432/activities_directory"
    assert read.operator_key.get_secret_value().startswith("ok_")


def test_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "database_roles_secret").write_text("of the file")
    monkeypatch.setenv("DATABASE_ROLES_SECRET", "of the environment")
    read = ServiceSettings(_secrets_dir=tmp_path)
    assert read.database_roles_secret.get_secret_value() == "of the environment"


def test_one_services_database_may_be_named_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    (tmp_path / "ingest_database_url").write_text("postgresql://elsewhere/own\n")
    assert ServiceSettings().urls("ingest").database == "own"


def test_secrets_that_are_there_are_kept(tmp_path: Path) -> None:
    secret_files.write(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    secret_files.write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    assert tmp_path.stat().st_mode & 0o777 == 0o700
