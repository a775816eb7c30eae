"""What a database offers: its tables and views, with keys and the column that looks like a cursor."""

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import SQLAlchemyError

from fmrp_erp_db.config import ErpDbConfig
from fmrp_erp_db.refusals import meaning_of
from fmrp_erp_db.session import Session
from fmrp_sdk import StreamInfo

MAX_OFFERED = 2_000
# Names of columns that tell when a row was last changed, best first, in the languages ERPs here are written in.
_CHANGED = (
    re.compile(r"(changed|modified|updated|last_?(change|update|modif\w*)|ge(ae|ä)ndert|(ae|ä)nderung)", re.IGNORECASE),
    re.compile(r"^(mtime|modtime|aedat|laeda|row_?version|sys_?change\w*|write_date)$", re.IGNORECASE),
    re.compile(r"(created|inserted|posted|booked|angelegt|erfasst|gebucht)", re.IGNORECASE),
)
_TIMES = (sa.DateTime, sa.Date)


def offers(session: Session, config: ErpDbConfig) -> list[StreamInfo]:
    """Tables and views of the schema in the order of their names, at most MAX_OFFERED. Reads no rows."""
    schema = config.db_schema
    try:
        inspector = sa.inspect(session.connection)
        columns = inspector.get_multi_columns(schema, kind=ObjectKind.ANY)
        keys = inspector.get_multi_pk_constraint(schema, kind=ObjectKind.ANY)
        session.connection.rollback()
    except SQLAlchemyError as error:
        raise meaning_of(error, config, "tables") from None
    found = sorted(columns, key=lambda name: (name[0] or "", name[1]))[:MAX_OFFERED]
    return [_offer(name, columns[name], keys.get(name)) for name in found]


def _offer(name: tuple[str | None, str], columns: Sequence[Any], key: Any) -> StreamInfo:
    types = {str(column["name"]): _type_name(column["type"]) for column in columns}
    primary = tuple((key or {}).get("constrained_columns") or ())
    return StreamInfo(".".join(part for part in name if part), types, primary, likely_cursor(columns, primary))


def likely_cursor(columns: Sequence[Any], primary_key: Sequence[str]) -> str | None:
    """A guess: a time whose name tells of changes, else one of creation, else a primary key that counts; None."""
    for names in _CHANGED:
        for column in columns:
            is_time = isinstance(column["type"], _TIMES) or column["type"].__class__.__name__ == "TIMESTAMP"
            if is_time and names.search(str(column["name"])):
                return str(column["name"])
    if len(primary_key) == 1:
        (only,) = (column for column in columns if column["name"] == primary_key[0])
        return primary_key[0] if isinstance(only["type"], sa.Integer) else None
    return None


def _type_name(column_type: Any) -> str:
    try:
        return str(column_type)
    except SQLAlchemyError:  # a type of its own, which only its dialect can spell
        return type(column_type).__name__
