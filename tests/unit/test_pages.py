"""The pages of documentation: whole, without a word from elsewhere, and only what they are."""

import re

import orjson

from libs.contracts.topics import TOPICS
from libs.service import pages


def _openapi() -> dict[str, object]:
    return {"openapi": "3.1.0", "paths": {}}


def _text(path: str, accept: str = "*/*") -> str:
    answer = pages.find(path, accept, _openapi)
    assert answer is not None, path
    return bytes(answer.body).decode()


def test_docs_load_nothing_from_elsewhere() -> None:
    for source in re.findall(r'(?:src|href)="([^"]+)"', _text("/docs")):
        assert source.startswith("/"), source
        assert pages.find(source, "*/*", _openapi) is not None, source
    assert "://" not in _text("/docs")


def test_pages_have_a_strict_policy() -> None:
    for path in ("/docs", "/asyncapi"):
        answer = pages.find(path, "text/html", _openapi)
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy


def test_asyncapi_names_every_topic_and_resolves_every_reference() -> None:
    document = orjson.loads(_text("/asyncapi", "application/json"))
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    for reference in re.findall(r'"\$ref":\s*"#/([^"]+)"', orjson.dumps(document).decode()):
        part = document
        for word in reference.split("/"):
            assert word in part, reference
            part = part[word]


def test_asyncapi_page_shows_every_type_and_links_to_shapes_that_are_there() -> None:
    page = _text("/asyncapi", "text/html,application/xhtml+xml")
    for topic in TOPICS:
        for event_type in topic.types:
            assert f"<code>{event_type}</code>" in page
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page


def test_other_paths_are_none_of_its() -> None:
    for path in ("/", "/docs/../secret", "/docs/unknown.js", "/swagger-ui.css", "/asyncapi/x"):
        assert pages.find(path, "*/*", _openapi) is None, path
