"""python -m tests.faults.process …: as `python -m services …`, with the bug that ACTIVITIES_PLANTED names.

The product has no switch for this: its functions are replaced here, before it starts.
"""

import os

from tests.faults.planted import PLANTED

PLANTED[os.environ["ACTIVITIES_PLANTED"]].plant()

from services.__main__ import app  # noqa: E402

app()
