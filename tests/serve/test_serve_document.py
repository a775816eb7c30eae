"""The OpenAPI document is valid, complete, explained by examples that fit, and leaves no request unbounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator
from litestar import Litestar
from openapi_spec_validator import OpenAPIV31SpecValidator
from serve_world import API, PROBLEM_JSON

Document = dict[str, Any]
FAILURES = {"400", "401", "403", "404", "409", "413", "429", "500", "503"}


@pytest.fixture
def document(app: Litestar) -> Document:
    return app.openapi_schema.to_schema()


def operations(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is sent, and what is answered when all goes well."""
    yield from (("body", each) for each in operation.get("requestBody", {}).get("content", {}).values())
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield from ((status, each) for each in answer.get("content", {}).values())


def validator(schema: dict[str, Any], document: Document) -> Draft202012Validator:
    """For a schema with the components it needs: all of them would be compiled again each time."""
    schemas = document["components"]["schemas"]
    needed: dict[str, Any] = {}
    wanted = names_in(schema)
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed[name] = schemas[name]
            wanted |= names_in(schemas[name])
    return Draft202012Validator({**schema, "components": {"schemas": needed}}, validate_formats=True)


def names_in(schema: Any) -> set[str]:
    """Names of the components a schema refers to."""
    if isinstance(schema, list):
        return set().union(*map(names_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rsplit("/", 1)[-1]} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(names_in, schema.values()))


async def test_it_is_openapi_3_1(document: Document, anyone: httpx.AsyncClient) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    served = await anyone.get(f"{API}/docs/openapi.json")
    assert served.json() == document


async def test_every_operation_is_described(document: Document) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    names: list[str] = []
    for name, operation in operations(document):
        assert operation["summary"], name
        assert len(operation["description"]) > len(operation["summary"]) / 2, name
        assert set(operation["tags"]) <= tags, f"{name}: describe its tag in serve.openapi.TAGS"
        names.append(operation["operationId"])
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{name}: {parameter['name']}"
    assert len(names) == len(set(names))


async def test_every_operation_says_who_may_call_it_and_how_it_fails(document: Document) -> None:
    for name, operation in operations(document):
        public = operation.get("security") == [{}]
        assert public or "Role: " in operation["description"], name
        assert operation["responses"].keys() >= FAILURES, name
        for status in FAILURES - ({"503"} if "health" in name else set()):
            assert list(operation["responses"][status]["content"]) == [PROBLEM_JSON], f"{name}: {status}"
        for status, header in (("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After")):
            assert header in operation["responses"][status]["headers"], f"{name}: {status}"


async def test_every_parameter_body_and_answer_has_an_example_that_fits(document: Document) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter, f"{name}: a word for {parameter['name']} is missing in example_words.WORDS"
            validator(parameter["schema"], document).validate(parameter["example"])
        for part, content in contents(operation):
            schema = content.get("schema", {})
            if schema.get("type") == "string" or not schema:
                continue
            assert "example" in content, f"{name}: {part}"
            if "multipart" not in name:
                validator(schema, document).validate(content["example"])


async def test_every_schema_is_described_and_has_an_example_that_fits(document: Document) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        if "enum" in schema:
            continue
        missing = [field for field, each in schema.get("properties", {}).items() if not _has_example(each)]
        assert not missing, f"{name}: words for {missing} are missing in serve.example_words.WORDS"
        validator(schema, document).validate(schema["examples"][0])


def _has_example(schema: dict[str, Any]) -> bool:
    return bool("$ref" in schema or schema.get("examples") or schema.get("enum"))


async def test_no_request_is_without_bounds(document: Document) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            for place, fault in unbounded(parameter["schema"], document, parameter["name"]):
                pytest.fail(f"{name}: {place}: {fault}")
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for place, fault in unbounded(content["schema"], document, "body"):
                # Fields nobody asked for are left out of a form before it is looked at.
                if (media_type, place) != ("multipart/form-data", "body"):
                    pytest.fail(f"{name}: {place}: {fault}")


def unbounded(
    schema: dict[str, Any], document: Document, place: str, seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Where a request may hold a text with a NUL, a number no column takes, or fields nobody asked for."""
    if "$ref" in schema:
        if schema["$ref"] not in seen:
            target = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
            yield from unbounded(target, document, place, (*seen, schema["$ref"]))
        return
    for choice in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        yield from unbounded(choice, document, place, seen)
    kind = schema.get("type")
    free = kind == "string" and not schema.keys() & {"enum", "const", "format"}
    if free and not schema.keys() >= {"pattern", "maxLength"}:
        yield place, "a text without pattern or maxLength"
    if kind in ("integer", "number") and not (
        schema.keys() & {"minimum", "exclusiveMinimum", "enum"}
        and schema.keys() & {"maximum", "exclusiveMaximum", "enum"}
    ):
        yield place, "a number without minimum or maximum"
    if kind == "array":
        yield from unbounded(schema.get("items", {}), document, f"{place}[]", seen)
    if kind == "object":
        if "additionalProperties" not in schema:
            yield place, "an object with any fields: forbid_unknown_fields=True"
        extra = schema.get("additionalProperties")
        for field, each in schema.get("properties", {}).items():
            yield from unbounded(each, document, f"{place}.{field}", seen)
        if isinstance(extra, dict):
            yield from unbounded(extra, document, f"{place}.*", seen)
    if not schema:
        yield place, "anything at all"
