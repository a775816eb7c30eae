"""Request bodies, read strictly: a body is what the document says, or it is refused.

Litestar reads JSON first and fits it to the handler's type afterwards, and leniently: "5" passes for a number and a
number for a moment. Read in one go with msgspec's strict rules instead, which also costs less.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, ValidationException
from litestar.handlers.base import BaseRouteHandler

# msgspec ends its messages with where: "Expected `int` - at `$.series[0].start`".
_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON body must be exactly of the handler's type."""

    async def json(self) -> Any:
        """The body as the handler's `data`.

        Raises:
            ClientException: no JSON.
            ValidationException: JSON of another shape, naming the field.
        """
        field = self.route_handler.parsed_data_field
        body = await self.body()
        wanted = Any if field is None else field.raw
        try:
            try:
                return msgspec.json.decode(body, type=wanted)
            except msgspec.ValidationError as error:
                if "got `float`" not in str(error):
                    raise
                # In JSON 5.0 is as whole a number as 5 is.
                return msgspec.convert(_whole(msgspec.json.decode(body)), wanted)
        except msgspec.ValidationError as error:
            raise _wrong(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientException(f"the body is no JSON: {error}") from error
        except RecursionError as error:
            raise ClientException("the body is nested too deeply") from error


def refuse_null(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: in a URL there is no null, though msgspec would take the word for one where a parameter may be absent.

    Raises:
        ValidationException: naming the parameter.
    """
    if b"null" not in connection.scope["query_string"].lower():
        return
    for field in handler.parsed_fn_signature.parameters.values():
        kwarg = field.kwarg_definition
        name = getattr(kwarg, "query", None) or field.name
        may_be_text = field.annotation is str or any(each.annotation is str for each in field.inner_types)
        if not may_be_text and any(value.lower() == "null" for value in connection.query_params.getall(name, [])):
            message = "expected a value, not null: leave the parameter out"
            raise ValidationException(f"{name}: {message}", extra=[{"key": name, "message": message}])


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def place_and_fault(text: str) -> tuple[str, str]:
    """The path of the field that a message of msgspec is about, empty if none, and what is wrong with it."""
    place = _PLACE.search(text)
    message = text if place is None else text[: place.start()]
    # `series[0].start` is told as series.0.start; a name inside a free-form object is not known here.
    path = "" if place is None else re.sub(r"\[(\d+)\]", r".\1", place["path"]).replace("[...]", "").lstrip(".")
    for pattern in (_UNKNOWN, _MISSING):
        if named := pattern.match(message):
            path = f"{path}.{named['name']}" if path else named["name"]
    return path, message


def _wrong(text: str) -> ValidationException:
    path, message = place_and_fault(text)
    return ValidationException(f"{path}: {message}" if path else message, extra=[{"key": path, "message": message}])
