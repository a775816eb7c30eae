"""Request bodies, read strictly: a body is what the document says, or it is refused.

Litestar reads JSON first and fits it to the handler's type afterwards, and leniently: "5" passes for a number and a
number for a moment. Read in one go with msgspec's strict rules instead, which also costs less.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException

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
        try:
            return msgspec.json.decode(body, type=Any if field is None else field.raw)
        except msgspec.ValidationError as error:
            raise _wrong(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientException(f"the body is no JSON: {error}") from error
        except RecursionError as error:
            raise ClientException("the body is nested too deeply") from error


def _wrong(text: str) -> ValidationException:
    place = _PLACE.search(text)
    message = text if place is None else text[: place.start()]
    # `series[0].start` is told as series.0.start; a name inside a free-form object is not known here.
    path = "" if place is None else re.sub(r"\[(\d+)\]", r".\1", place["path"]).replace("[...]", "").lstrip(".")
    for pattern in (_UNKNOWN, _MISSING):
        if named := pattern.match(message):
            path = f"{path}.{named['name']}" if path else named["name"]
    return ValidationException(f"{path}: {message}" if path else message, extra=[{"key": path, "message": message}])
