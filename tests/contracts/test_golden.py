"""Every released shape of every event still decodes, fast and slow alike; no field was renamed, retyped or removed."""

from pathlib import Path

import orjson
import pytest

from libs.contracts.decoding import decoder_of
from libs.contracts.topics import BY_NAME

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


def test_each_topic_has_a_golden_file() -> None:
    assert {path.stem.rpartition(".v")[0] for path in GOLDEN} == set(BY_NAME)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_bytes_decode_and_keep_every_field(path: Path) -> None:
    model = BY_NAME[path.stem.rpartition(".v")[0]].model
    bytes_then = path.read_bytes()
    slow = model.model_validate_json(bytes_then)
    written = orjson.loads(slow.model_dump_json())
    fast = decoder_of(model)(bytes_then)
    for name, value in orjson.loads(bytes_then).items():
        must_hold(written[name], value, name)
        assert hasattr(fast, name)


def must_hold(now: object, then: object, path: str) -> None:
    """All that was there then is there now; new fields may have come."""
    if isinstance(then, dict):
        assert isinstance(now, dict), path
        for name, value in then.items():
            assert name in now, f"{path}.{name} is gone"
            must_hold(now[name], value, f"{path}.{name}")
    elif isinstance(then, list):
        assert isinstance(now, list), path
        assert len(now) == len(then), path
        for index, (a, b) in enumerate(zip(now, then, strict=True)):
            must_hold(a, b, f"{path}.{index}")
    else:
        assert now == then, path
