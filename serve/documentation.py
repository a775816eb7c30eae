"""The API's documentation as one plain page, made from the OpenAPI document.

No scripts and nothing from elsewhere: it reads the same in a plant without a way to the internet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8884; }
details { border: 1px solid #8884; border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem; }
summary { cursor: pointer; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
.method { display: inline-block; min-width: 3.5rem; font-weight: 600; text-transform: uppercase; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
"""


class PageRenderPlugin(OpenAPIRenderPlugin):
    """Every operation with its parameters, body and answers, by tag."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Make the page."""
        info = openapi_schema["info"]
        by_tag: dict[str, list[str]] = {}
        for path, operations in openapi_schema["paths"].items():
            for method in _METHODS:
                if operation := operations.get(method):
                    block = "".join(_operation(path, method, operation))
                    by_tag.setdefault(next(iter(operation.get("tags") or ["Other"])), []).append(block)
        schemas = openapi_schema.get("components", {}).get("schemas", {})
        parts = [
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(info['title'])}: API</title>",
            f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style>",
            f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description') or '')}</p>",
            f"<p>Machine-readable: <a href='{escape(self.get_openapi_json_route(request))}'>openapi.json</a></p>",
            *(f"<h2>{escape(tag)}</h2>{''.join(blocks)}" for tag, blocks in by_tag.items()),
            "<h2>Schemas</h2>",
            *(_schema(name, schema) for name, schema in sorted(schemas.items())),
            "</html>",
        ]
        return "".join(parts).encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details id='{escape(operation['operationId'])}'><summary><span class='method'>{method}</span> "
    yield f"<code>{escape(path)}</code> {escape(operation.get('summary') or '')}</summary>"
    yield f"<p>{escape(operation.get('description') or '')}</p>"
    parameters = [
        (each["name"], each["in"], _type(each.get("schema", {})), each.get("description") or "")
        for each in operation.get("parameters") or []
    ]
    if parameters:
        yield _table(("parameter", "in", "type", ""), parameters)
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: {escape(media_type)}, <code>{escape(_type(body.get('schema', {})))}</code></p>"
    answers = [
        (status, ", ".join(_type(each.get("schema", {})) for each in answer.get("content", {}).values()), text)
        for status, answer in operation.get("responses", {}).items()
        for text in (answer.get("description") or "",)
    ]
    yield _table(("status", "answer", ""), answers) + "</details>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required") or [])
    fields = [
        (field, _type(each), "" if field in required else "optional")
        for field, each in (schema.get("properties") or {}).items()
    ]
    text = escape(schema.get("description") or "")
    table = _table(("field", "type", ""), fields)
    return f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> {text}</summary>{table}</details>"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if reference := schema.get("$ref"):
        return str(reference).rsplit("/", 1)[-1]
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in choices))
    if values := schema.get("enum"):
        return " or ".join(str(value) for value in values)
    kind = schema.get("type", "any")
    names = [str(each) for each in kind] if isinstance(kind, list) else [str(kind)]
    if "array" in names:
        return f"list of {_type(schema.get('items', {}))}"
    return " or ".join(names) + (f" ({schema['format']})" if schema.get("format") else "")
