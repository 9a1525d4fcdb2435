"""Pages of documentation that need no internet: `/docs` (OpenAPI, by Swagger UI) and `/asyncapi`."""

from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import orjson
from fastapi import Response

from libs.contracts import asyncapi

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
START = b"""window.ui = SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true, docExpansion: "none",
  displayRequestDuration: true, tryItOutEnabled: true, validatorUrl: null, persistAuthorization: false});
"""
DOCS = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Activities: routes</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/docs/favicon-32x32.png"><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
<noscript>This page needs JavaScript; <a href="/openapi.json">/openapi.json</a> says the same.</noscript></body></html>
"""
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2330}
code{font-size:.92em}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #d8dde6}h2{margin-top:2rem}"""


def find(path: str, accept: str, openapi: Callable[[], dict[str, Any]]) -> Response | None:
    """Answer a path of the documentation, or None: it is none of ours. `openapi` makes the document."""
    if path == "/openapi.json":
        return Response(orjson.dumps(openapi()), media_type="application/json")
    if path in ("/docs", "/docs/"):
        return _page(DOCS)
    if path == "/docs/start.js":
        return _file(START, "text/javascript; charset=utf-8")
    if path == "/asyncapi":
        return _page(_asyncapi_page()) if "text/html" in accept else _asyncapi_document()
    name = path.removeprefix("/docs/")
    return _file(_asset(name), ASSETS[name]) if name in ASSETS and name != path else None


def _page(content: bytes) -> Response:
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


def _file(content: bytes, media_type: str) -> Response:
    headers = {"cache-control": "public, max-age=86400", "x-content-type-options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


@cache
def _asset(name: str) -> bytes:
    return (files("fastapi_swagger") / "resources" / name).read_bytes()


@cache
def _asyncapi_page() -> bytes:
    document = asyncapi.document()
    channels = "".join(_channel(name, channel, document) for name, channel in document["channels"].items())
    shapes = "".join(_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Activities: events</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>Events, release {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])} "
        f"CloudEvents 1.0, binary mode; the key is <code>business/subject</code>, the partition its CRC-32 modulo the "
        f'number of partitions. As AsyncAPI 3.0: <code>curl -H "accept: application/json" …/asyncapi</code>.</p>'
        f"<h2>Topics</h2><table><tr><th>topic<th>types<th>value<th>kept</tr>{channels}</table><h2>Shapes</h2>{shapes}"
        f"</body></html>"
    ).encode()


def _asyncapi_document() -> Response:
    return Response(orjson.dumps(asyncapi.document()), media_type="application/json")


def _channel(name: str, channel: dict[str, Any], document: dict[str, Any]) -> str:
    types = list(channel["messages"])
    value = document["components"]["messages"][types[0]]["payload"]["$ref"].rpartition("/")[2]
    listed = "<br>".join(f"<code>{escape(each)}</code>" for each in types)
    kept = escape(channel["description"].removeprefix("Kept: "))
    return f'<tr><td><code>{escape(name)}</code><td>{listed}<td><a href="#{value}">{value}</a><td>{kept}</tr>'


def _shape(name: str, schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{_kind(part)}<td>{'required' if field in needed else ''}</tr>"
        for field, part in schema.get("properties", {}).items()
    )
    said = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{said}</p><table>{rows}</table>'


def _kind(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in part:
        return " or ".join(_kind(each) for each in part["anyOf"])
    if "enum" in part:
        return escape(", ".join(map(str, part["enum"])))
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {}))}"
    return escape(part.get("format") or part.get("type") or "any")
