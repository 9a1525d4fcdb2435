"""What a release needs before its processes run: databases and topics, brought up to date."""

import subprocess
import sys

from cli.place import ROOT, Place, Trouble

PREPARE_S = 120.0


def prepare(place: Place) -> list[str]:
    """Bring databases and topics up to date; return what was done, a line each. Raises Trouble."""
    command = [sys.executable, "-m", "services", "prepare", "all"]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PREPARE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"databases and topics were not prepared within {PREPARE_S:g} s") from error
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise Trouble(f"preparing databases and topics failed with code {done.returncode}:\n{words}")
    return [line for line in done.stderr.splitlines() if ": applied " in line or line.startswith("made topic ")]
