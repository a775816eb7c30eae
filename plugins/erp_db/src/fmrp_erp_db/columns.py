"""Rows of a database as Arrow record batches whose types are settled once, by what the server says of its columns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from fmrp_sdk import FatalError

_MAX_DIGITS = 38
_UTC_TIME = pa.timestamp("us", tz="UTC")
_LOCAL_TIME = pa.timestamp("us")
# PostgreSQL's object identifiers of its types, and MySQL's field types; what is not named here comes as text.
_POSTGRESQL = {
    **dict.fromkeys((20, 21, 23, 26), pa.int64()),
    **dict.fromkeys((700, 701), pa.float64()),
    16: pa.bool_(),
    1082: pa.date32(),
    1114: _LOCAL_TIME,
    1184: _UTC_TIME,
}
_POSTGRESQL_NUMERIC = 1700
_MYSQL = {
    **dict.fromkeys((1, 2, 3, 8, 9, 13, 16), pa.int64()),
    **dict.fromkeys((4, 5), pa.float64()),
    10: pa.date32(),
    12: _LOCAL_TIME,
    7: _UTC_TIME,
}
_MYSQL_DECIMALS = (0, 246)
MYSQL_TIMESTAMP = 7
Description = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names and Arrow types of a stream's columns."""

    names: tuple[str, ...]
    schema: pa.Schema

    @classmethod
    def described(cls, description: Description, dialect: str) -> "Columns":
        """By a cursor's description. SQLite and the driver of SQL Server tell no types: there all comes as text."""
        type_of = {"postgresql": _postgresql_type, "mysql": _mysql_type}.get(dialect, lambda _: pa.string())
        names = tuple(str(each[0]) for each in description)
        return cls(names, pa.schema([pa.field(str(each[0]), type_of(each)) for each in description]))

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        """The rows as one record batch. FatalError names a column whose value does not fit its own type."""
        values = list(zip(*rows, strict=True)) if rows else [()] * len(self.names)
        arrays = [_array(field, column) for field, column in zip(self.schema, values, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _postgresql_type(described: Sequence[Any]) -> pa.DataType:
    if described[1] == _POSTGRESQL_NUMERIC:
        precision, scale = described[4], described[5]
        if precision and precision <= _MAX_DIGITS and scale is not None and 0 <= scale <= precision:
            return pa.decimal128(precision, scale)
        return pa.string()
    return _POSTGRESQL.get(described[1], pa.string())


def _mysql_type(described: Sequence[Any]) -> pa.DataType:
    if described[1] in _MYSQL_DECIMALS:
        length, scale = described[4], described[5]  # the length counts a sign and a point as well
        return pa.decimal128(_MAX_DIGITS, scale) if length <= _MAX_DIGITS else pa.string()
    return _MYSQL.get(described[1], pa.string())


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    convert = _converter(field.type)
    try:
        return pa.array([None if value is None else convert(value) for value in values], type=field.type)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise FatalError(
            f"column {field.name!r}: a value does not fit {field.type} ({error}); in a query, CAST it to text"
        ) from error


def _converter(arrow_type: pa.DataType) -> Callable[[Any], Any]:
    if pa.types.is_string(arrow_type):
        return as_text
    if pa.types.is_decimal(arrow_type):
        return _finite
    if pa.types.is_integer(arrow_type):
        return _whole
    if pa.types.is_temporal(arrow_type):
        return _real_date
    return lambda value: value


def as_text(value: Any) -> str:
    """As text: bytes in hexadecimal, structures as JSON, times as 2024-01-31 08:00:00, those of a zone in UTC."""
    for types, text_of in _TEXTS:
        if isinstance(value, types):
            return text_of(value)
    return str(value)


_TEXTS: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    (str, str),
    (bool, lambda value: "true" if value else "false"),
    (Decimal, lambda value: format(value, "f")),
    ((bytes, bytearray, memoryview), lambda value: bytes(value).hex()),
    (datetime, lambda value: _in_utc(value).isoformat(sep=" ")),  # before date, which it is too
    (date, lambda value: value.isoformat()),
    ((dict, list), lambda value: json.dumps(value, default=str, ensure_ascii=False)),
)


def _in_utc(value: datetime) -> datetime:
    """As Arrow's columns of times with a zone are told on: in UTC, without it."""
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value


def _finite(value: Decimal) -> Decimal | None:
    """PostgreSQL's NaN and infinity are no quantity: empty."""
    return value if value.is_finite() else None


def _whole(value: Any) -> Any:
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value  # MySQL's BIT


def _real_date(value: Any) -> Any:
    """MySQL's 0000-00-00, which its driver gives as text, is no date: empty."""
    return None if isinstance(value, str) else value
