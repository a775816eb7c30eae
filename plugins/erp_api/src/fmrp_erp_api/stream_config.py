"""One stream: where its records are, how they are paged and by what only the new ones are asked for."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, JsonValue, field_validator, model_validator

from fmrp_erp_api.auth_config import Strict
from fmrp_erp_api.json_path import check_path, has_filter

Parameter = Annotated[str, Field(min_length=1, max_length=200)]
JsonPath = Annotated[str, Field(min_length=1, max_length=500)]

_SECRET = re.compile(
    r"(x-)?(api|subscription)[-_]?key|(auth|access|api)?[-_]?token|(client[-_]?)?secret|passw(or)?d|pwd|authorization",
    re.IGNORECASE,
)
"""Parameters that sound secret."""
OVERRIDES = {"_method", "x-http-method-override", "x-http-method", "x-method-override"}
"""Names by which some servers take a GET or POST for another method, which might write."""
_OVERLAP_S = 300.0

MAX_COLUMNS = 500
"""Columns of a stream, at most."""


class NoPaging(Strict):
    """One request gives everything."""

    kind: Literal["none"] = Field(default="none", description="All records come in one answer.")


class _Sized(Strict):
    size_param: Parameter | None = Field(default=None, description="Parameter for the page's size, if there is one.")
    size: int = Field(default=100, ge=1, le=100_000, description="Records asked for at a time.")


class _Counted(_Sized):
    """Pages that end with an empty one, unless the answer says so earlier."""

    more_path: JsonPath | None = Field(
        default=None, description="JSONPath of a true/false value that says whether more pages follow."
    )
    total_path: JsonPath | None = Field(
        default=None,
        description="JSONPath of the total number of records. It also tells a list that changed while it was read.",
    )
    stays_in_place: bool = Field(
        default=False,
        description="Nothing is deleted or moved within the list while it is read: it is sorted by what never changes, "
        "new records come at its end. Pages by number can then be trusted without asking twice.",
    )
    stop_at_short_page: bool = Field(
        default=False,
        description="Take a page with fewer records than asked for as the last one. Saves one request; leave it off "
        "where the server may give less than it is asked for.",
    )

    @field_validator("more_path", "total_path")
    @classmethod
    def _paths(cls, path: str | None) -> str | None:
        return path if path is None else check_path(path)


class PagePaging(_Counted):
    """?page=1, 2, 3, ..."""

    kind: Literal["page"] = Field(description="Pages by number.")
    param: Parameter = Field(default="page", description="Parameter for the page's number.")
    first: int = Field(default=1, ge=0, le=1, description="Number of the first page: 0 or 1.")


class OffsetPaging(_Counted):
    """?offset=0, 100, 200, ..."""

    kind: Literal["offset"] = Field(description="Pages by the number of records to pass over.")
    param: Parameter = Field(default="offset", description="Parameter for the number of records to pass over.")


class CursorPaging(_Sized):
    """Each answer holds what is to be sent for the next page."""

    kind: Literal["cursor"] = Field(description="Pages by a value that each answer gives for the next one.")
    param: Parameter = Field(default="cursor", description="Parameter the value is sent back in.")
    next_path: JsonPath = Field(description="JSONPath of the value; null, empty or missing on the last page.")

    @field_validator("next_path")
    @classmethod
    def _path(cls, path: str) -> str:
        return check_path(path)


class LinkPaging(_Sized):
    """Each answer holds the address of the next page."""

    kind: Literal["link"] = Field(description="Pages by the address of the next one.")
    next_path: JsonPath | None = Field(
        default=None,
        description="JSONPath of the next address, as \"$['@odata.nextLink']\". Without: the Link header, rel=next.",
    )

    @field_validator("next_path")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return path if path is None else check_path(path)


Paging = Annotated[NoPaging | PagePaging | OffsetPaging | CursorPaging | LinkPaging, Field(discriminator="kind")]


class Cursor(Strict):
    """The field by which only what is new or changed is asked for. The source must take it as 'at or after'."""

    field: str = Field(min_length=1, max_length=200, description="Column (see fields) that grows with every change.")
    param: Parameter = Field(description="Parameter that limits the answer to values at or after the one sent.")
    expression: str = Field(
        default="{cursor}",
        max_length=500,
        description="What is sent, with {cursor} in it, for example 'modified ge {cursor}' for OData's $filter.",
    )
    type: Literal["datetime", "date", "number", "text"] = Field(
        default="datetime", description="How values compare. A time in seconds since 1970 is a number."
    )
    format: str | None = Field(
        default=None, max_length=50, description="How the source writes it, as of strptime; without: ISO 8601."
    )
    send_format: str | None = Field(
        default=None, max_length=50, description="How it is to be sent, as of strftime; without: as the source writes."
    )
    time_zone: str = Field(default="UTC", description="IANA zone of times written without one, e.g. Europe/Berlin.")
    overlap: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        description="How far back each reading begins, so that what was stored late or while it was read is not "
        "missed: seconds for datetime, days for date, units for number. Rows met again unchanged are passed over. "
        "Without: 300 seconds, and an hour more in a time_zone other than UTC; no days, no units.",
    )
    initial: str | None = Field(
        default=None, min_length=1, max_length=100, description="Where the first reading begins; without: everything."
    )
    ordered: bool = Field(
        default=False,
        description="The source is asked, in params, to sort ascending by this field. A reading that was cut off then "
        "goes on from the last row stored; without it most kinds of paging begin again. Pages by number or offset are "
        "then read by the field's values, so that none is missed while rows change.",
    )

    @property
    def set_back_by(self) -> float:
        """The overlap, or what it is without: seconds, days or units."""
        if self.overlap is not None:
            return self.overlap
        if self.type != "datetime":
            return 0.0
        # When summer time ends, an hour of a clock on the wall comes twice.
        return _OVERLAP_S if self.time_zone == "UTC" else _OVERLAP_S + 3600

    @field_validator("expression")
    @classmethod
    def _holds_cursor(cls, expression: str) -> str:
        if "{cursor}" not in expression:
            raise ValueError("must hold {cursor}, for example 'modified ge {cursor}'")
        return expression

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"{name!r} is no IANA time zone; expected for example Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        if self.type == "text" and self.overlap:
            raise ValueError("overlap: texts cannot be set back; leave it at 0")
        if self.type in ("number", "text") and (self.format or self.send_format):
            raise ValueError("format and send_format: only for datetime and date")
        return self


class Stream(Strict):
    """One list of the API."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", description="Name of the stream, of your choice.")
    path: str = Field(max_length=500, description="Path below base_url, for example 'items' or 'v2/stock'.")
    method: Literal["GET", "POST"] = Field(default="GET", description="POST only where a search is asked by POST.")
    params: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Query parameters sent with every request of the stream."
    )
    post_is_search: bool = Field(
        default=False,
        description="Confirms that a POST to this path only searches. Sources are only read: never set it for an "
        "address that creates or changes something.",
    )
    body: dict[str, JsonValue] | None = Field(default=None, description="JSON body sent with POST.")
    parameters_in: Literal["query", "body"] = Field(
        default="query",
        description="Where paging's and the cursor's parameters go; in a body, 'page.size' is size within page.",
    )
    format: Literal["json", "jsonl", "csv"] = Field(
        default="json",
        description="json and jsonl (one record a line) become records; csv is handed over as a file for the mapping.",
    )
    records: JsonPath | None = Field(
        default=None,
        description="JSONPath (RFC 9535) to the records, for example '$.data[*]'. Without: the elements of the answer "
        "if it is a list, else the answer itself.",
    )
    missing_is_empty: bool = Field(
        default=False,
        description="Where records leads nowhere the list is empty: for an API that leaves out empty lists. Without, "
        "it is an error.",
    )
    fields: dict[str, JsonPath] = Field(
        default_factory=dict,
        description="Column to JSONPath within a record, for example {'city': '$.address.city'}. Without: all values, "
        "nested ones as 'address.city'.",
    )
    flatten_depth: int = Field(
        default=2, ge=0, le=5, description="Without fields: how deep objects become columns; what is deeper is JSON."
    )
    paging: Paging = Field(default=NoPaging(), description="How the list is cut into pages.")
    mode: Literal["snapshot", "incremental"] = Field(
        default="snapshot",
        description="snapshot: read whole, what is missing is gone. incremental: only what is new or changed.",
    )
    cursor: Cursor | None = Field(default=None, description="For incremental: the field that tells what is new.")
    key: tuple[str, ...] = Field(
        default=(), max_length=20, description="Columns that tell records apart; needed for incremental."
    )

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str) -> str:
        if "://" in path or "\\" in path or set(path) & set("?#") or ".." in path.split("/"):
            raise ValueError("must be a path below base_url such as 'v2/items'; what follows '?' belongs in params")
        return path.lstrip("/")

    @field_validator("params")
    @classmethod
    def _harmless(cls, params: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        for name in params:
            if name.lower() in OVERRIDES:
                raise ValueError(f"{name!r} would ask for another method: sources are only read")
            if _SECRET.fullmatch(name):
                raise ValueError(f"{name!r} sounds secret: it belongs in auth, as api_key placed in the query")
        return params

    @field_validator("records")
    @classmethod
    def _records_path(cls, path: str | None) -> str | None:
        return path if path is None else check_path(path)

    @field_validator("fields")
    @classmethod
    def _field_paths(cls, fields: dict[str, str]) -> dict[str, str]:
        if len(fields) > MAX_COLUMNS:
            raise ValueError(f"at most {MAX_COLUMNS} columns")
        return {column: check_path(path) for column, path in fields.items()}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problem = next(self._problems(), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What does not go together."""
        if self.method == "GET" and (self.body is not None or self.parameters_in == "body"):
            yield "body and parameters_in 'body' need method POST"
        if self.method == "POST" and not self.post_is_search:
            yield "method POST needs post_is_search: true, which confirms that this address only searches"
        if self.mode == "incremental" and (self.cursor is None or not self.key):
            yield "an incremental stream needs cursor, and key: the columns that tell its records apart"
        if self.mode == "snapshot" and self.cursor is not None:
            yield "cursor needs mode 'incremental'"
        if self.format == "csv" and (self.mode == "incremental" or self.records or self.fields or self.key):
            yield "a CSV answer is handed over as a file: mode 'snapshot', without records, fields and key"
        looks_inside = any(getattr(self.paging, name, None) for name in ("more_path", "total_path", "next_path"))
        if self.format != "json" and looks_inside:
            yield f"paging by a JSONPath needs format 'json', not '{self.format}'"
        if isinstance(self.paging, _Counted) and self.records is not None and has_filter(self.records):
            yield "records: a filter ('?') hides how many records a page held; use it with cursor or link paging only"
        yield from self._unsorted_problems()
        wanted = {*self.key, *([self.cursor.field] if self.cursor else [])}
        if self.fields and (missing := sorted(wanted - self.fields.keys())):
            yield f"key and cursor name columns that are not in fields: {', '.join(missing)}"

    def _unsorted_problems(self) -> Iterator[str]:
        """What could be missed in a list that comes in no order."""
        if self.cursor is None or self.cursor.ordered or isinstance(self.paging, NoPaging):
            return
        if self.cursor.type in ("number", "text"):
            yield (
                "a cursor of type number or text needs a sorted list, as what changes while it is read could be "
                "missed: sort by it in params, and set the cursor's ordered"
            )
        if self.may_shift and not self.tells_total:
            yield (
                "incremental by page or offset may miss records that move from page to page meanwhile: sort by the "
                "cursor in params and set its ordered, or give total_path, or confirm stays_in_place"
            )

    @property
    def fingerprint(self) -> str:
        """Of all that decides what is asked for and how it is read: another one is another list."""
        how = {"paging": True, "post_is_search": True, "missing_is_empty": True, "cursor": {"overlap", "ordered"}}
        return blake2b(self.model_dump_json(exclude=how).encode(), digest_size=16).hexdigest()  # type: ignore[arg-type]

    @property
    def may_shift(self) -> bool:
        """Whether records may move from page to page while the list is read."""
        return isinstance(self.paging, _Counted) and not self.paging.stays_in_place

    @property
    def tells_total(self) -> bool:
        """Whether each page says how many records there are in all."""
        return isinstance(self.paging, _Counted) and self.paging.total_path is not None

    @property
    def is_counted(self) -> bool:
        """Whether a page is found by its number or the records before it."""
        return isinstance(self.paging, _Counted)
