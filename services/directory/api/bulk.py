"""Many records in one request: one JSON document a line, good lines kept when others fail."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from pydantic import ValidationError

from libs.access import Principal
from libs.database import Transaction
from libs.errors import Malformed, Problem, Rejected, TooLarge
from libs.service.problems import read_validation
from libs.service.strict_json import read_json
from services.directory.api.bodies import RecordBody
from services.directory.api.writing import Referred, new_record, refer, save
from services.directory.domain import rules
from services.directory.store import records
from services.directory.store.records import Place

LINES_MAX = 10_000
LINE_MAX_BYTES = 256 << 10
BREATH_LINES = 250
BATCH_ROWS = 500


@dataclass(slots=True)
class Lines:
    """What the lines of a request say: good ones by their index, and what is wrong with the others."""

    good: dict[int, RecordBody] = field(default_factory=dict)
    bad: dict[int, list[Problem]] = field(default_factory=dict)

    async def read(self, text: bytes) -> None:
        """Read the lines, letting others run every 250. Raises TooLarge, Rejected."""
        lines = [(index, line) for index, line in enumerate(text.split(b"\n")) if line.strip()]
        if not lines:
            raise Rejected(
                "the body has no lines; send one JSON document a line", [Problem("body", "empty", "is empty")]
            )
        if len(lines) > LINES_MAX:
            raise TooLarge(f"the body has {len(lines)} lines; at most {LINES_MAX} are taken")
        refs: dict[str, int] = {}
        for count, (index, line) in enumerate(lines):
            if count % BREATH_LINES == BREATH_LINES - 1:
                await asyncio.sleep(0)
            try:
                body = _read_line(line)
            except Rejected as error:
                self.bad[index] = list(error.problems) or [Problem("body", error.code, error.message)]
                continue
            earlier = refs.setdefault(body.external_ref, index) if body.external_ref is not None else index
            if earlier != index:
                self.bad[index] = [Problem("external_ref", "duplicate", f"is in line {earlier} of this request too")]
            else:
                self.good[index] = body

    def refuse_unknown(self, statuses: Sequence[str], known: Referred) -> None:
        """Move lines with an unknown status or reference to the bad ones."""
        for index, body in list(self.good.items()):
            problems = known.problems(body, statuses)
            if problems:
                self.bad[index] = problems
                del self.good[index]


def _read_line(line: bytes) -> RecordBody:
    if len(line) > LINE_MAX_BYTES:
        raise TooLarge(f"the line has {len(line)} bytes; at most {LINE_MAX_BYTES} are taken")
    document = read_json(line)
    if not isinstance(document, dict):
        raise Malformed("the line is not a JSON object")
    try:
        return RecordBody.model_validate(document)
    except ValidationError as error:
        raise Rejected("not valid", read_validation(error.errors())) from None


async def save_lines(
    tx: Transaction, principal: Principal, place: Place, statuses: Sequence[str], lines: Lines
) -> bytes:
    """Save the good lines under an object with these statuses and answer each: its record's id, or what is wrong."""
    lines.refuse_unknown(statuses, await refer(tx, place, lines.good.values()))
    new = {index: new_record(place, body) for index, body in lines.good.items()}
    waiting = list(new.values())
    for start in range(0, len(waiting), BATCH_ROWS):
        await save(tx, principal, place, waiting[start : start + BATCH_ROWS], replace=True)
    gone = await records.list_erased(tx, principal.business_id, {each.id for each in waiting})
    for index in [index for index, each in new.items() if each.id in gone]:
        lines.bad[index] = [
            Problem("external_ref", "erased", f"names record {new.pop(index).id}, which {rules.ERASED}")
        ]
    results = [
        {"index": index, "id": str(new[index].id)} if index in new else {"index": index, "errors": lines.bad[index]}
        for index in sorted([*new, *lines.bad])
    ]
    return orjson.dumps({"results": results})
