"""The audit log: who changed what, before and after. The database writes it, so no way of writing can forget to.

A watched table has a trigger for each kind of change. They fire once a statement and write one `audit_entry` a changed
row, in the same transaction, and only when that transaction names an actor (`act_as`): what the system does by itself,
such as ingesting files, is told by jobs and runs instead. TRUNCATE is not seen: no code of ours uses it.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, inspect, text, true
from sqlalchemy.ext.asyncio import AsyncSession

ENTRY_TABLE = "audit_entry"
# Columns every write moves: they change with a row, and never alone.
BOOKKEEPING = ("updated_at", "revision", "changed_at", "changed_by", "search_text")
HIDDEN = "(hidden)"
"""Stands for the value of a hidden column in an update that changed it."""

_EVENTS = {
    "insert": "NEW TABLE AS new_rows",
    "update": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "OLD TABLE AS old_rows",
}

# TG_ARGV[0] holds the columns of the key, TG_ARGV[1] those never shown, each as a PostgreSQL array.
_DECLARE = """
DECLARE
    actor text := coalesce(current_setting('fmrp.actor', true), '');
    request text := nullif(current_setting('fmrp.request_id', true), '');
    keys text[] := TG_ARGV[0]::text[];
    hidden text[] := TG_ARGV[1]::text[];
"""
_WHOLE_ROWS = """
    INSERT INTO audit_entry (actor, request_id, action, entity, entity_id, before, after)
    SELECT actor, request, lower(TG_OP), TG_TABLE_NAME,
        (SELECT string_agg(changed_row.data ->> part, '/' ORDER BY place)
            FROM unnest(keys) WITH ORDINALITY AS k (part, place)),
        {columns}
    FROM (SELECT to_jsonb({table}) AS data FROM {table}) AS changed_row;
"""
# A row whose key was changed has no partner: it counts as one deleted and one inserted.
_CHANGED_ROWS = """
    INSERT INTO audit_entry (actor, request_id, action, entity, entity_id, before, after)
    WITH earlier AS (
        SELECT (SELECT string_agg(data ->> part, '/' ORDER BY place)
                FROM unnest(keys) WITH ORDINALITY AS k (part, place)) AS key, data
        FROM (SELECT to_jsonb(old_rows) AS data FROM old_rows) AS changed_row
    ), later AS (
        SELECT (SELECT string_agg(data ->> part, '/' ORDER BY place)
                FROM unnest(keys) WITH ORDINALITY AS k (part, place)) AS key, data
        FROM (SELECT to_jsonb(new_rows) AS data FROM new_rows) AS changed_row
    )
    SELECT actor, request,
        CASE WHEN later.key IS NULL THEN 'delete' WHEN earlier.key IS NULL THEN 'insert' ELSE 'update' END,
        TG_TABLE_NAME, coalesce(later.key, earlier.key),
        CASE WHEN later.key IS NULL THEN earlier.data - hidden WHEN earlier.key IS NOT NULL THEN changed.before END,
        CASE WHEN earlier.key IS NULL THEN later.data - hidden WHEN later.key IS NOT NULL THEN changed.after END
    FROM earlier FULL JOIN later ON later.key = earlier.key
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(was.key, CASE WHEN was.key = ANY (hidden) THEN '"{hidden}"'::jsonb ELSE was.value END)
                AS before,
            jsonb_object_agg(now.key, CASE WHEN now.key = ANY (hidden) THEN '"{hidden}"'::jsonb ELSE now.value END)
                AS after
        FROM jsonb_each(earlier.data) AS was JOIN jsonb_each(later.data) AS now USING (key)
        WHERE was.value IS DISTINCT FROM now.value AND was.key <> ALL (bookkeeping)
    ) AS changed ON true
    WHERE earlier.key IS NULL OR later.key IS NULL OR (earlier.data - bookkeeping) <> (later.data - bookkeeping);
"""
_BOOKKEEPING = "{" + ",".join(BOOKKEEPING) + "}"
_BODIES = {
    "insert": _WHOLE_ROWS.format(table="new_rows", columns="NULL, changed_row.data - hidden"),
    "update": _CHANGED_ROWS.format(hidden=HIDDEN),
    "delete": _WHOLE_ROWS.format(table="old_rows", columns="changed_row.data - hidden, NULL"),
}
# What was written stays as it was written; only the deletion of what is past its age may say that it is that.
_KEEP = """
CREATE FUNCTION fmrp_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND coalesce(current_setting('fmrp.audit_expiry', true), '') = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is only ever added to' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def install(connection: Connection) -> None:
    """Make the trigger functions, once, beside the table `audit_entry`, and close that table to changes."""
    for action, body in _BODIES.items():
        connection.execute(
            text(
                f"CREATE FUNCTION fmrp_audit_{action}() RETURNS trigger LANGUAGE plpgsql AS $$ {_DECLARE}"
                f"    bookkeeping text[] := '{_BOOKKEEPING}';"
                f" BEGIN IF actor = '' THEN RETURN NULL; END IF; {body} RETURN NULL; END $$"
            )
        )
    connection.execute(text(_KEEP))
    connection.execute(
        text(
            f"CREATE TRIGGER audit_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {ENTRY_TABLE} "
            "FOR EACH STATEMENT EXECUTE FUNCTION fmrp_audit_keep()"
        )
    )


def remove(connection: Connection) -> None:
    """Undo `install`; no table may be watched any more, and `audit_entry` is gone or about to go."""
    connection.execute(text(f"DROP TRIGGER IF EXISTS audit_keep ON {ENTRY_TABLE}"))
    for action in (*_BODIES, "keep"):
        connection.execute(text(f"DROP FUNCTION fmrp_audit_{action}()"))


def watch(connection: Connection, table: str, hidden: tuple[str, ...] = ()) -> None:
    """Have changes of the table written down. Values of `hidden` columns (hashes, secrets) never are; that one was
    changed is.

    Not for hypertables: they take no triggers with transition tables.

    Raises:
        ValueError: the table has no primary key, or no such column to hide.
    """
    inspector = inspect(connection)
    keys = inspector.get_pk_constraint(table)["constrained_columns"]
    if not keys:
        raise ValueError(f"{table}: expected a table with a primary key")
    if unknown := set(hidden) - {column["name"] for column in inspector.get_columns(table)}:
        raise ValueError(f"hidden: {table} has no column {', '.join(sorted(unknown))}")
    arguments = f"'{{{','.join(keys)}}}', '{{{','.join(hidden)}}}'"
    for action, tables in _EVENTS.items():
        connection.execute(
            text(
                f'CREATE TRIGGER audit_{action} AFTER {action.upper()} ON "{table}" REFERENCING {tables} '
                f"FOR EACH STATEMENT EXECUTE FUNCTION fmrp_audit_{action}({arguments})"
            )
        )


def unwatch(connection: Connection, table: str) -> None:
    """Undo `watch`."""
    for action in _EVENTS:
        connection.execute(text(f'DROP TRIGGER audit_{action} ON "{table}"'))


_ACT = text("SELECT set_config('fmrp.actor', :actor, true), set_config('fmrp.request_id', :request_id, true)")


async def act_as(session: AsyncSession, actor: str, request_id: str | None = None) -> None:
    """Name who makes the changes of this transaction, from here to its end. One round trip.

    Raises:
        ValueError: the actor has no name.
    """
    if not actor:
        raise ValueError("actor: expected a name")
    await session.execute(_ACT, {"actor": actor, "request_id": request_id or ""})


def acting(actor: str, request_id: str | None = None) -> tuple[ColumnElement[str], ...]:
    """What `act_as` does as columns, for a query that the transaction begins with anyway; it must find a row."""
    return (
        func.set_config("fmrp.actor", actor, true()).label("_actor"),
        func.set_config("fmrp.request_id", request_id or "", true()).label("_request_id"),
    )
