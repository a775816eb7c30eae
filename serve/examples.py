"""Examples in the OpenAPI document: one value for each word of the vocabulary, put together wherever it is used.

It is the same made-up plant everywhere, so that the parts of the document fit each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serve.example_source_words import SOURCE_WORDS
from serve.example_words import MORNING, RUN, WORDS

_VOCABULARY = WORDS | SOURCE_WORDS
_SPAN = re.compile(r"_(from|to|tree)$")
_REFERENCE = "#/components/schemas/"
_MISSING = object()
_FORMATS = {"date-time": MORNING, "date": "2026-11-23", "uuid": RUN}


def add_examples(document: dict[str, Any]) -> None:
    """Put an example on every schema, parameter and body for which all the words are there."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    examples = {name: _example(schema, name, schemas) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        for field, each in schema.get("properties", {}).items():
            found = _of_field(each, name, field, schemas)
            if "$ref" not in each and found is not _MISSING:
                each.setdefault("examples", [found])
        if examples[name] is not _MISSING and "enum" not in schema:
            schema["examples"] = [examples[name]]
    for path, item in document["paths"].items():
        resource = path.removeprefix("/api/v1/").split("/")[0]
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                found = _of_field(parameter["schema"], resource, parameter["name"], schemas)
                if found is not _MISSING:
                    parameter["example"] = found
            answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            for holder in (operation.get("requestBody", {}), *answers):
                for media in holder.get("content", {}).values():
                    found = _example(media.get("schema", {}), "", schemas)
                    if found is not _MISSING:
                        media["example"] = found


def _of_field(schema: Mapping[str, Any], owner: str, field: str, schemas: Mapping[str, Any]) -> Any:
    """What the schema says itself, else the word of the field; a filter by span or tree has that of what it is by."""
    if schema.get("examples"):
        return schema["examples"][0]
    for name in (field, _SPAN.sub("", field)):
        for word in (f"{owner}.{name}", name):
            for value in (_VOCABULARY.get(word, _MISSING), [_VOCABULARY.get(word, _MISSING)]):
                if word in _VOCABULARY and _may_be(schema, value, schemas):
                    return value
    return _example(schema, field, schemas)


def _example(schema: Mapping[str, Any], name: str, schemas: Mapping[str, Any]) -> Any:
    """An example of a schema, or _MISSING."""
    if "$ref" in schema:
        target = str(schema["$ref"]).removeprefix(_REFERENCE)
        if target not in schemas:
            return _MISSING
        # Within itself, as a node of a tree is, it is not shown again.
        return _example(schemas[target], target, {each: schemas[each] for each in schemas if each != target})
    given = [*schema.get("examples", ()), *([schema["const"]] if "const" in schema else ()), *schema.get("enum", ())]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    given += [found for choice in choices if (found := _example(choice, name, schemas)) is not _MISSING]
    kind = schema.get("type")
    if given:
        found = given[0]
    elif kind == "array":
        items = schema.get("items", {})
        inner = _example(items, name, schemas)
        ends = "$ref" in items and str(items["$ref"]).removeprefix(_REFERENCE) not in schemas
        found = [] if ends else _MISSING if inner is _MISSING else [inner]
    elif kind == "object" and "properties" in schema:
        fields = {field: _of_field(each, name, field, schemas) for field, each in schema["properties"].items()}
        found = _MISSING if any(each is _MISSING for each in fields.values()) else fields
    else:
        fallback = True if kind == "boolean" else _FORMATS.get(schema.get("format", ""), _MISSING)
        found = schema.get("default", fallback)
    return found


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _may_be(schema: Mapping[str, Any], value: Any, schemas: Mapping[str, Any]) -> bool:
    """Whether a word's value has the type, and is among the values, of a schema."""
    if "$ref" in schema:
        return _may_be(schemas.get(str(schema["$ref"]).removeprefix(_REFERENCE), {"enum": []}), value, schemas)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            return any(_may_be(choice, value, schemas) for choice in choices)
    kind = schema.get("type")
    if kind == "array" and isinstance(value, list):
        return all(_may_be(schema.get("items", {}), each, schemas) for each in value)
    is_of_type = kind is None or isinstance(value, _JSON_TYPES[kind])
    return is_of_type and not (kind == "object" and "properties" in schema) and _is_among(schema, value)


def _is_among(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether the value is one of the choices, between the bounds, and a day or a moment where one is wanted."""
    if "enum" in schema:
        return value in schema["enum"]
    if isinstance(value, int | float):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, str) and schema.get("format") in ("date", "date-time"):
        return value[:4].isdigit() and ("T" in value) == (schema["format"] == "date-time")
    return True
