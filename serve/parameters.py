"""The vocabulary of requests: what a text, a name, a page or a sort may look like, the same on every route.

Parameters of a route take Litestar's `Parameter`, fields of a body msgspec's `Meta`: each is the only one enforced
there. Patterns end in `\\Z`, as Python's `$` would let a final newline through; the document says `$`, which is what
`\\Z` is elsewhere.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import Parameter
from msgspec import Meta

from db.paging import MAX_LIMIT, Order
from serve.problems import Conflict

# PostgreSQL stores no NUL, and no name needs the other control characters.
NO_CONTROL = r"^[^\x00-\x1f\x7f]*\Z"
# As above, and with something to see at both ends.
TRIMMED = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?\Z"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_.-]*\Z"
CURSOR = r"^[A-Za-z0-9_-]+\Z"
# RFC 3339, with an offset. The day may still be none (30 February): `moment_of` looks.
MOMENT = (
    r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
)
VISIBLE_ASCII = r"^[!-~]+\Z"
# Beyond this a double, which is what most clients read JSON numbers into, is no longer exact to a thousandth.
LARGEST = 1_000_000_000_000

# Dates of a plant: far beyond any real history or plan, and far from where calendars end.
_FIRST_MOMENT, _LAST_MOMENT = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)
PLANT_DAY = r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z"

# Parameters of routes.
Limit = Annotated[int, Parameter(ge=1, le=MAX_LIMIT, description="Rows a page.")]
Cursor = Annotated[
    str | None,
    Parameter(min_length=1, max_length=2000, pattern=CURSOR, description="`next_cursor` of the page before."),
]
Search = Annotated[
    str | None,
    Parameter(max_length=200, pattern=NO_CONTROL, description="Part of a code, a name or a text; upper case or lower."),
]
IdempotencyKey = Annotated[
    str | None,
    Parameter(
        header="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=VISIBLE_ASCII,
        description="Any text of the caller's; the same one again starts nothing new and answers as the first time.",
    ),
]


def text_parameter(description: str, max_length: int = 200, **given: Any) -> Any:
    """A parameter of free text: `Annotated[str | None, text_parameter("...")]`."""
    return Parameter(max_length=max_length, pattern=NO_CONTROL, description=description, **given)


def moment_parameter(description: str) -> Any:
    """A parameter that is a moment, for `moment_of`. As text: Litestar would take a number or a local time for one."""
    return Parameter(max_length=40, pattern=MOMENT, description=f"{description} RFC 3339, with an offset.")


def moment_of(given: str | None, name: str) -> datetime | None:
    """The moment of a `moment_parameter`. Conflict: there is no such day."""
    try:
        return None if given is None else datetime.fromisoformat(given)
    except ValueError as error:
        raise Conflict(f"{name}: there is no such day", {name: "there is no such day"}) from error


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC; at the ends of the calendar, where an offset leads out of it, the end."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _FIRST_MOMENT if moment.year == 1 else _LAST_MOMENT


MOST_VALUES = 100
_LONGEST_VALUE = 200
Values = list[Annotated[str, Meta(max_length=_LONGEST_VALUE, pattern=NO_CONTROL)]]
"""Of a parameter that may come several times, for `several`. Within a list it is `Meta` that counts."""


def several(description: str, **given: Any) -> Any:
    """A parameter that may come several times: `Annotated[Values | None, several("...")]`."""
    # Litestar enforces what is said of the values, and leaves it out of the document.
    each = Schema(type=OpenAPIType.STRING, max_length=_LONGEST_VALUE, pattern=NO_CONTROL)
    return Parameter(max_items=MOST_VALUES, description=description, schema_extra={"items": each}, **given)


def sorts(order: Order) -> Any:
    """The parameter `sort` of a list in that order; a minus sign before a field turns it round."""
    names = [sign + name for name in order.columns for sign in ("", "-")]
    pattern = f"^({'|'.join(re.escape(name) for name in names)})\\Z"
    description = f"Field to sort by, with a minus sign before it the other way round. Without it: {order.default}."
    return Parameter(pattern=pattern, description=description, schema_extra={"enum": names})


# Fields of bodies.
Text = Annotated[str, Meta(max_length=1000, pattern=NO_CONTROL)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=TRIMMED)]
Key = Annotated[str, Meta(min_length=1, max_length=60, pattern=IDENTIFIER)]
_Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Quantity = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Scalar = Text | _Whole | Quantity | bool | None
_Scalars = Annotated[list[_Scalar], Meta(max_length=200)]
_Flat = Annotated[dict[Key, _Scalar | _Scalars], Meta(max_length=50)]
Options = Annotated[dict[Key, _Scalar | _Scalars | _Flat], Meta(max_length=50)]
"""Names and values handed on to code that knows them: plain values, lists of them, or one more level of the same."""


def choice(name: str) -> dict[str, Any]:
    """For the document: the text is one of a list in `serve.openapi.CHOICES`, known when the server runs."""
    return {"format": f"choice:{name}"}
