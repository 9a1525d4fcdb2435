"""The secrets of an installation in containers, a file for each."""

import secrets
from pathlib import Path

from cli import output
from libs.access.keys import generate_key


def write(directory: Path) -> None:
    """Write what is missing in `directory`, which only we may enter.

    The files are readable for everybody: a container sees its own ones alone, as a user unknown to this machine.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    password = directory / "postgres_password"
    made = [
        _keep(password, secrets.token_urlsafe(32)),
        _keep(directory / "database_url", f"postgresql://postgres:{password.read_text()}@postgres:5432/postgres"),
        _keep(directory / "database_roles_secret", secrets.token_urlsafe(32)),
        _keep(directory / "operator_key", generate_key("operator").text),
        _keep(directory / "webhook_master_key", secrets.token_urlsafe(32)),
    ]
    output.say(f"{sum(made)} new secrets in {directory}; {len(made) - sum(made)} were there")


def _keep(path: Path, text: str) -> bool:
    """Write a file that is not there yet."""
    if path.exists():
        return False
    path.write_text(text)
    path.chmod(0o444)
    return True
