"""JSON Schemas of all events, and what a change to them would break.

Each release's schemas stay in `released/<number>/<topic>.json`; the number is that of its line in `CHANGELOG.md`.
"""

from pathlib import Path
from typing import Any

import orjson

from libs.contracts.topics import TOPICS, Topic

RELEASED = Path(__file__).parent / "released"
_SAID_ONLY = {"title", "description", "default", "examples"}
_LOOKED_INTO = {"$ref", "$defs", "properties", "required", "items", "anyOf", "additionalProperties", *_SAID_ONLY}

Schema = dict[str, Any]


def schema_of(topic: Topic) -> Schema:
    """Give the JSON Schema (draft 2020-12) of the values on a topic."""
    return topic.model.model_json_schema()


def release_number() -> int:
    """Read the number of the newest release from the first line of the change log that has one."""
    lines = (Path(__file__).parent / "CHANGELOG.md").read_text().splitlines()
    return next(int(line[2:].split(":", 1)[0]) for line in lines if line.startswith("- "))


def read_release(number: int) -> dict[str, Schema]:
    """Read the schemas of a release by topic."""
    return {path.stem: orjson.loads(path.read_bytes()) for path in sorted((RELEASED / str(number)).glob("*.json"))}


def current() -> dict[str, Schema]:
    """Give today's schemas by topic, without their texts: a better sentence is no new shape."""
    return {topic.name: _bare(schema_of(topic)) for topic in TOPICS}


def write_release() -> list[Path]:
    """Write today's schemas as those of the newest release; give the files that changed."""
    changed = []
    for name, schema in current().items():
        path = RELEASED / str(release_number()) / f"{name}.json"
        content = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            changed.append(path)
    return changed


def breaks(before: Schema, after: Schema) -> list[str]:
    """Name what the change from `before` to `after` breaks: for new readers of old events or old readers of new ones.

    Fields may be added where they are not required. Nothing is removed, retyped, narrowed or widened: readers are
    strict about values, so a new word in a list of words is refused by the release before.
    """
    problems: list[str] = []
    _compare((before, before.get("$defs", {})), (after, after.get("$defs", {})), "", problems)
    return problems


def _compare(before: tuple[Schema, Schema], after: tuple[Schema, Schema], path: str, problems: list[str]) -> None:
    (then, then_defs), (now, now_defs) = _resolved(*before), _resolved(*after)
    problems.extend(
        f"{path or 'the event'}: {word} was {then.get(word)!r} and is {now.get(word)!r}"
        for word in sorted((then.keys() | now.keys()) - _LOOKED_INTO)
        if then.get(word) != now.get(word)
    )
    _compare_fields((then, then_defs), (now, now_defs), path, problems)
    for name in ("items", "additionalProperties"):
        one, other = then.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            _compare((one, then_defs), (other, now_defs), f"{path}[]", problems)
        elif one != other:
            problems.append(f"{path}: {name} was {one!r} and is {other!r}")
    choices, choices_now = then.get("anyOf", []), now.get("anyOf", [])
    if len(choices) != len(choices_now):
        problems.append(f"{path}: was one of {len(choices)} kinds and is one of {len(choices_now)}")
    for one, other in zip(choices, choices_now, strict=False):
        _compare((one, then_defs), (other, now_defs), path, problems)


def _compare_fields(
    before: tuple[Schema, Schema], after: tuple[Schema, Schema], path: str, problems: list[str]
) -> None:
    (then, then_defs), (now, now_defs) = before, after
    fields, fields_now = then.get("properties", {}), now.get("properties", {})
    needed, needed_now = set(then.get("required", ())), set(now.get("required", ()))
    for name in sorted(needed ^ needed_now):
        verb = (
            "is required now: older events lack it" if name in needed_now else "may be absent now: older readers fail"
        )
        problems.append(f"{path}.{name} {verb}")
    for name, field in fields.items():
        if name not in fields_now:
            problems.append(f"{path}.{name} is gone")
        else:
            _compare((field, then_defs), (fields_now[name], now_defs), f"{path}.{name}", problems)


def _resolved(schema: Schema, defs: Schema) -> tuple[Schema, Schema]:
    reference = schema.get("$ref")
    return (defs[reference.rpartition("/")[2]], defs) if reference else (schema, defs)


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {word: _bare(part) for word, part in schema.items() if word not in _SAID_ONLY - {"default"}}
    for group in ("properties", "$defs"):  # what stands here are names, not words of the language
        if group in schema:
            bare[group] = {name: _bare(part) for name, part in schema[group].items()}
    return bare
