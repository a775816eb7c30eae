"""The OpenAPI document: operations as Litestar finds them, schemas as msgspec enforces them, and what neither knows.

Litestar's own schemas leave out descriptions, forbidden fields and constraints inside unions; msgspec's are made from
the very types that bodies are checked with. Added here, for all operations at once: the headers that go with errors,
who may call, lists of values known only when the server runs, and examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any
from zoneinfo import available_timezones

import msgspec
from litestar._openapi.schema_generation import SchemaCreator
from litestar.datastructures import UploadFile
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI, Schema, Tag
from litestar.openapi.spec.enums import OpenAPIType
from litestar.plugins import OpenAPISchemaPlugin
from litestar.plugins.base import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition

from actors.kinds import KINDS
from serve.event_options import PACE_MS
from serve.event_topics import EXPECTED
from serve.examples import add_examples
from serve.preconditions import IF_MATCH
from serve.problems import ERROR_HEADERS

REFERENCE = "#/components/schemas/"
_MARK = "struct:"
_CHOICE = "choice:"
_NOISE = {"deprecated": False, "allowEmptyValue": False, "allowReserved": False, "headers": {}, "default": None}
_METHODS = ("get", "put", "post", "delete", "patch")

CHOICES: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "JobKind": ("A kind of job this system knows", lambda: list(KINDS)),
    "TimeZone": ("A name of the time zone database", lambda: sorted(available_timezones())),
}
"""Lists of values that are known when the server runs, for `serve.parameters.choice`."""

TAGS = {
    "Log-in": "Who is calling.",
    "Users": "Who may log in, and what they may do.",
    "API keys": "Keys with which machines call.",
    "Audit log": "Who changed what, before and after.",
    "Demand": "What was sold.",
    "Items": "What is made and bought, in which units and categories.",
    "Purchasing": "From whom, at which terms.",
    "Bills of material": "What items consist of, what that takes and costs, and where they go into.",
    "Stock": "What lies where.",
    "Production": "Where work is done, by which steps, and when it is not.",
    "Orders": "What is ordered and not delivered yet, by us and by customers.",
    "Settings": "What planners set once for the whole plant.",
    "Forecasts": "Expected demand by week, and how it was reckoned.",
    "Plans": "Orders to release, and the load they put on work centres.",
    "Models": "Trained versions of models: how good they are, and which one is in use.",
    "Alerts": "What a person should look at, until it is over.",
    "Summary": "The plant in figures, for a front page.",
    "Jobs": "Work that takes longer than a request: started, watched, cancelled, run again.",
    "Queue": "What may run at once, and who runs it.",
    "Schedules": "What starts by itself, and when.",
    "Sources": "Where data comes from, what was read, and what was not taken.",
    "Mappings": "How the columns of a file become the fields of a table.",
    "Events": (
        "What happens, as it happens: over the WebSocket `/api/v1/events`, or as server-sent events from"
        " `GET /api/v1/events/stream`, which does not end while its reader stays and so is none of the operations here."
        " Both want the role viewer, with a bearer token, an API key or a ticket, and take the same queries: `topic`,"
        f" any number of times ({EXPECTED}); `after`, the last id the client has (the header Last-Event-ID goes before"
        f" it); `snapshot=false` to begin without one; `pace_ms`, {PACE_MS[0]} to {PACE_MS[1]}, the time between writes"
        " under load; `ticket`. The stream answers `text/event-stream` with `event`, `id` and `data`, or a problem with"
        " 400, 401, 403, 429 or 503."
    ),
    "Operations": "For balancers and monitors.",
}


class Contract(OpenAPISchemaPlugin, ReceiveRoutePlugin):
    """Remembers, while Litestar looks at the routes, which types they use and which role each needs."""

    def __init__(self) -> None:
        self.types: list[Any] = []
        self.roles: dict[tuple[str, str], str | None] = {}

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Structs, and the dataclasses that forms are."""
        annotation = field_definition.type_
        return not field_definition.is_union and (
            field_definition.is_subclass_of(msgspec.Struct)
            or (isinstance(annotation, type) and is_dataclass(annotation))
        )

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """A stand-in that `Document` replaces."""
        schema = schema_creator.schema_registry.get_schema_for_field_definition(field_definition)
        schema.title, schema.type = f"{_MARK}{len(self.types)}", OpenAPIType.OBJECT
        self.types.append(field_definition.annotation)
        return schema

    def receive_route(self, route: BaseRoute) -> None:
        """Note the role of each operation."""
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                self.roles[(route.path_format, str(method).lower())] = handler.opt.get("role")


class Document(OpenAPI):
    """The document with everything in it."""

    contract: Contract

    def to_schema(self) -> dict[str, Any]:
        """As plain values."""
        return finish(super().to_schema(), self.contract)


@dataclass
class DocumentConfig(OpenAPIConfig):
    """Has Litestar make a `Document`."""

    contract: Contract = field(default_factory=Contract)

    def to_openapi_schema(self) -> OpenAPI:
        """What is there before any route."""
        made = super().to_openapi_schema()
        document = Document(**{each.name: getattr(made, each.name) for each in fields(made)})
        document.contract = self.contract
        document.tags = [Tag(name, description) for name, description in TAGS.items()]
        return document


def finish(document: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """Put in what Litestar leaves out."""
    schemas = document["components"].setdefault("schemas", {})
    references, components = msgspec.json.schema_components(
        contract.types, schema_hook=_of_foreign_type, ref_template=REFERENCE + "{name}"
    )
    renamed = {
        REFERENCE + name: str(references[int(schema["title"].removeprefix(_MARK))]["$ref"])
        for name, schema in schemas.items()
        if str(schema.get("title", "")).startswith(_MARK)
    }
    document["components"]["schemas"] = {
        **{name: schema for name, schema in schemas.items() if REFERENCE + name not in renamed},
        **components,
        **{
            name: {"title": name, "description": description, "type": "string", "enum": values()}
            for name, (description, values) in CHOICES.items()
        },
    }
    for scheme in document["components"].get("securitySchemes", {}).values():
        if scheme.get("type") == "http":
            scheme.pop("name", None)
    document["paths"] = _renamed(document["paths"], renamed)
    document = _clean(_nicely_named(document))
    for path, method, operation in operations(document):
        _complete(operation, contract.roles.get((path, method)))
    add_examples(document)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, one by one."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _of_foreign_type(foreign: type) -> dict[str, Any]:
    if issubclass(foreign, UploadFile):
        return {"type": "string", "format": "binary"}
    raise NotImplementedError(f"{foreign} has no schema")


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "$ref" else _renamed(value, names) for key, value in node.items()
        }
    return [_renamed(each, names) for each in node] if isinstance(node, list) else node


def _clean(node: Any) -> Any:
    """Python's way of writing turned into JSON Schema's, and what says nothing left out."""
    if isinstance(node, list):
        return [_clean(each) for each in node]
    if not isinstance(node, dict):
        return node
    shown_as = node.get("format")
    if isinstance(shown_as, str) and shown_as.startswith(_CHOICE):
        return {"$ref": REFERENCE + shown_as.removeprefix(_CHOICE)}
    cleaned = {
        key: _clean(value)
        for key, value in node.items()
        if not (key in _NOISE and value == _NOISE[key] and type(value) is type(_NOISE[key]))
    }
    if isinstance(pattern := cleaned.get("pattern"), str):
        cleaned["pattern"] = pattern.replace("\\Z", "$")
        if "enum" in cleaned:
            del cleaned["pattern"]
    for bound in ("minimum", "maximum"):
        if isinstance(value := cleaned.get(bound), float) and value.is_integer():
            cleaned[bound] = int(value)
    return cleaned


def _complete(operation: dict[str, Any], role: str | None) -> None:
    _tell_of_if_match(operation)
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"] = _without_null(parameter["schema"])
        if isinstance(described := schema.pop("description", None), str):
            parameter.setdefault("description", described)
    if role == "public":
        operation["security"] = [{}]
    elif role is not None:
        operation["description"] = f"{operation.get('description', '')}\n\nRole: {role} or above.".strip()
    for status, answer in operation["responses"].items():
        # A header that is only told of has no type in Litestar's document, and must have one in OpenAPI's.
        for header in answer.get("headers", {}).values():
            header.setdefault("schema", {"type": "string"})
        if found := ERROR_HEADERS.get(int(status)):
            name, description, shape = found
            header = {"description": description, "required": True, "schema": dict(shape)}
            answer.setdefault("headers", {})[name] = header


def _tell_of_if_match(operation: dict[str, Any]) -> None:
    """In words, as no schema can say which revision is the right one: whoever tries values by it is refused."""
    parameters = operation.get("parameters", [])
    if kept := [each for each in parameters if each["name"].lower() != "if-match"]:
        operation["parameters"] = kept
    else:
        operation.pop("parameters", None)
    if len(kept) < len(parameters):
        operation["description"] = f"{operation.get('description', '')}\n\n{IF_MATCH}".strip()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter can be left out, but in a URL there is no null."""
    found = dict(schema)
    for key in ("oneOf", "anyOf"):
        if key in found:
            kept = [each for each in found[key] if each.get("type") != "null"]
            if len(kept) == 1:
                del found[key]
                found = {**kept[0], **found}
    if isinstance(found.get("type"), list):
        kept_types = [each for each in found["type"] if each != "null"]
        found["type"] = kept_types[0] if len(kept_types) == 1 else kept_types
        if "enum" in found:
            found["enum"] = [each for each in found["enum"] if each is not None]
    return found


def _nicely_named(document: dict[str, Any]) -> dict[str, Any]:
    """`Listing_JobOut_` reads better as JobOutListing."""
    schemas = document["components"]["schemas"]
    names = {name: re.sub(r"^([A-Za-z]+)_([A-Za-z]+)_$", r"\2\1", name) for name in schemas}
    document["components"]["schemas"] = {names[name]: schema for name, schema in schemas.items()}
    nicer: dict[str, Any] = _renamed(document, {REFERENCE + old: REFERENCE + new for old, new in names.items()})
    return nicer
