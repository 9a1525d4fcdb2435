"""The layout that can be checked by reading: sizes, names, cards, where SQL stands."""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
NO_NAMES = {"utils", "helpers", "common", "core", "constants", "manager", "models"}
PRODUCT = sorted(chain.from_iterable((ROOT / each).rglob("*.py") for each in ("services", "libs", "cli")))
SERVICES = sorted(path for path in (ROOT / "services").iterdir() if (path / "app.py").exists())
SQL = ("select ", "insert into ", "update ", "delete from ", "with ")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def _tree(path: Path) -> ast.Module:
    """Parse a file with no collection in between: a finalizer that parses too makes CPython give up (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_modules_and_functions_are_short_and_named_by_nouns(path: Path) -> None:
    assert path.stem not in NO_NAMES
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX
    long = [f"{each.name}: {each.end_lineno - each.lineno + 1}" for each in _functions(path) if each.end_lineno
            and each.end_lineno - each.lineno >= FUNCTION_LINES_MAX]  # fmt: skip
    assert long == []


@pytest.mark.parametrize("service", SERVICES, ids=_name)
def test_each_service_has_a_card_with_all_four_words(service: Path) -> None:
    card = ast.get_docstring(_tree(service / "__init__.py")) or ""
    assert [word for word in ("Owns", "Serves", "Hears", "Emits") if f"\n{word} " in card] == [
        "Owns", "Serves", "Hears", "Emits",
    ]  # fmt: skip


@pytest.mark.parametrize("service", SERVICES, ids=_name)
def test_sql_stands_in_the_store_alone(service: Path) -> None:
    for path in service.rglob("*.py"):
        if "store" in path.relative_to(service).parts or path.name == "store.py":
            continue
        texts = [
            node.value
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found = [text for text in texts if text.strip().startswith(SQL) and " from " in text]
        assert found == [], path


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_only_the_consumer_and_the_frame_catch_everything(path: Path) -> None:
    allowed = path.is_relative_to(ROOT / "libs" / "service") or path.is_relative_to(ROOT / "libs" / "messaging")
    caught = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert allowed or caught == []
