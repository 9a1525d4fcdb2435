"""python -m libs.gateway <directory>: runs the gateway that the directory's table describes.

`python -m services gateway` writes the table and becomes this: a gateway needs none of the services' code in memory.
"""

import sys
from pathlib import Path

import structlog
import uvloop

from libs.embedded.processes import ServerFailed
from libs.gateway.gateway import Gateway
from libs.gateway.table import FILE, Table


def main() -> int:
    """Run until SIGTERM; 1 and a sentence on standard error when it cannot."""
    directory = Path(sys.argv[1])
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        uvloop.run(Gateway(Table.read(directory / FILE), directory).run())
    except ServerFailed as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
