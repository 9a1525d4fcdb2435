"""Structured logs: one JSON line per unit of work, at its end, on standard error."""

import logging
import sys
from contextlib import suppress
from typing import IO, Any
from uuid import UUID

import orjson
import structlog


class _Lossy:
    """Writes through to a file, or not at all when that fails: a full disk must not fail what would be logged."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, line: bytes) -> int:
        with suppress(OSError):
            return self._file.write(line) or len(line)
        return len(line)

    def flush(self) -> None:
        pass


def set_up(level: str) -> None:
    """Send our log lines, and the libraries' warnings, to standard error as JSON."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_write)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(_unfailing()),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processor=structlog.processors.JSONRenderer(serializer=_write_text)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _unfailing() -> Any:
    """Take standard error without its buffer, which would keep a line that could not be written."""
    return _Lossy(getattr(sys.stderr.buffer, "raw", sys.stderr.buffer))


def _write(value: object, **_: object) -> bytes:
    return orjson.dumps(value, default=_word_of)


def _word_of(value: object) -> str:
    return str(value) if isinstance(value, UUID) else repr(value)


def _write_text(value: object, **_: object) -> str:
    return _write(value).decode()
