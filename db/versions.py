"""How far the data of a table has moved on, so that what was computed from it can be kept under that number.

A watched table has a trigger that fires once a statement and moves the table's version within the same transaction: a
reader that sees a change sees its version too, and a change that is rolled back moves nothing.

A version is the sum of several slots. A transaction moves the slot of its own server process, so that two writers of
one table neither wait for each other nor, having begun with different tables, deadlock. Slots only grow, and by the
clock where that is ahead: after a backup was restored, numbers once given out do not come again for other data.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, String, cast, func, select, text
from sqlalchemy.sql.selectable import ScalarSelect

from db.models import DataVersion

SLOTS = 1024
_BUMP = f"""
CREATE FUNCTION fmrp_data_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO data_version AS v (name, slot, value)
        VALUES (TG_TABLE_NAME, pg_backend_pid() % {SLOTS}, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
        ON CONFLICT (name, slot) DO UPDATE SET value = greatest(v.value + 1, excluded.value);
    RETURN NULL;
END $$
"""


def install(connection: Connection) -> None:
    """Make the trigger function, once, beside the table `data_version`."""
    connection.execute(text(_BUMP))


def remove(connection: Connection) -> None:
    """Undo `install`; no table may be watched any more."""
    connection.execute(text("DROP FUNCTION fmrp_data_changed()"))


def watch(connection: Connection, table: str) -> None:
    """Have changes of the table move its version."""
    connection.execute(
        text(
            f'CREATE TRIGGER data_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION fmrp_data_changed()"
        )
    )


def unwatch(connection: Connection, table: str) -> None:
    """Undo `watch`."""
    connection.execute(text(f'DROP TRIGGER data_changed ON "{table}"'))


def version_of(tables: Sequence[str]) -> ScalarSelect[str]:
    """The version of these tables' data together, as a column of any query. The tables are watched ones."""
    total = func.coalesce(func.sum(DataVersion.value), 0)
    return select(cast(total, String)).where(DataVersion.name.in_(tables)).scalar_subquery()
