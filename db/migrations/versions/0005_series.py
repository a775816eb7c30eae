"""Weekly and monthly roll-ups of demand, job events as a series, columnstore and retention policies."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

from db import retention, timeseries

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

GRAINS = {"week": "demand_week", "month": "demand_month"}
_EVENT = "job_id, kind, state, attempt, progress, step, message"
_FROM_JOB = "new_row.id, new_row.kind, new_row.state, new_row.attempts, new_row.progress, new_row.step, new_row.message"


def upgrade() -> None:
    """Apply."""
    connection = op.get_bind()
    query = text("SELECT value FROM capability WHERE name = :name")
    hypertables = connection.execute(query, {"name": timeseries.HYPERTABLES}).scalar() is not None
    _create_rollup_pending()
    _create_job_event(connection, hypertables=hypertables)
    _create_triggers()
    if not hypertables:
        _create_rollup_tables()
        return
    _create_aggregates()
    # Segments of an item, so that a restatement takes only its own items' batches out of the columnstore.
    for table, segment, order in (
        ("demand", "item_id", "feed, day"),
        ("forecast", "run_id", "item_id, week"),
        ("job_event", "", "job_id, id, at"),
    ):
        options = f"timescaledb.segmentby = '{segment}', timescaledb.orderby = '{order}'"
        op.execute(f"ALTER TABLE {table} SET (timescaledb.enable_columnstore, {options})")
    retention.set_policies(connection, retention.DEFAULTS)


def _create_rollup_pending() -> None:
    op.create_table(
        "rollup_pending",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollup_pending")),
    )


def _create_job_event(connection: sa.Connection, *, hypertables: bool) -> None:
    op.execute("CREATE SEQUENCE job_event_id_seq")
    op.create_table(
        "job_event",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), server_default=text("nextval('job_event_id_seq')"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "id", "at", name=op.f("pk_job_event")),
        **timeseries.partition_option("job_event", hypertables=hypertables),
    )
    op.execute("ALTER SEQUENCE job_event_id_seq OWNED BY job_event.id")
    if hypertables:
        timeseries.make_hypertable(connection, "job_event")
        return
    # The queue writes here whatever the date, so no missing month may ever stop it.
    op.execute("CREATE TABLE job_event_default PARTITION OF job_event DEFAULT")
    month = datetime.now(UTC).date()
    for _ in range(3):
        start, month = timeseries.month_of(month)
        _, create, attach = timeseries.partition_statements("job_event", start, month)
        op.execute(create)
        op.execute(attach)


def _create_triggers() -> None:
    op.execute(
        f"""
        CREATE FUNCTION job_event_of_insert() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO job_event ({_EVENT}) SELECT {_FROM_JOB} FROM new_row;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION job_event_of_update() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO job_event ({_EVENT})
            SELECT {_FROM_JOB} FROM new_row JOIN old_row USING (id) WHERE new_row.state <> old_row.state;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER job_event_of_insert AFTER INSERT ON job REFERENCING NEW TABLE AS new_row"
        " FOR EACH STATEMENT EXECUTE FUNCTION job_event_of_insert()"
    )
    op.execute(
        "CREATE TRIGGER job_event_of_update AFTER UPDATE ON job REFERENCING OLD TABLE AS old_row NEW TABLE AS new_row"
        " FOR EACH STATEMENT EXECUTE FUNCTION job_event_of_update()"
    )


def _create_rollup_tables() -> None:
    for grain, table in GRAINS.items():
        op.create_table(
            table,
            sa.Column("item_id", sa.Uuid(), nullable=False),
            sa.Column("feed", sa.Text(), nullable=False),
            sa.Column("period", sa.Date(), nullable=False),
            sa.Column("quantity", sa.Numeric(), nullable=False),
            sa.Column("revenue", sa.Numeric(), nullable=True),
            sa.PrimaryKeyConstraint("item_id", "feed", "period", name=op.f(f"pk_{table}")),
        )
        op.execute(
            f"INSERT INTO {table} SELECT item_id, feed, date_trunc('{grain}', day::timestamp)::date,"
            " sum(quantity), sum(revenue) FROM demand GROUP BY 1, 2, 3"
        )


def _create_aggregates() -> None:
    op.execute(
        "CREATE FUNCTION demand_pending_from() RETURNS date LANGUAGE sql STABLE"
        " AS 'SELECT min(first_day) FROM rollup_pending'"
    )
    for grain, view in GRAINS.items():
        bucket = f"time_bucket(INTERVAL '1 {grain}', day)"
        op.execute(
            f"CREATE MATERIALIZED VIEW {view}_aggregate"
            " WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS"
            f" SELECT item_id, feed, {bucket} AS period, sum(quantity) AS quantity, sum(revenue) AS revenue"
            " FROM demand GROUP BY 1, 2, 3 WITH NO DATA"
        )
        # A change below the aggregate's watermark shows there only once it is refreshed; until then demand is read.
        since = f"coalesce(date_trunc('{grain}', demand_pending_from()::timestamp)::date, 'infinity')"
        op.execute(
            f"CREATE VIEW {view} AS SELECT item_id, feed, period, quantity, revenue FROM {view}_aggregate"
            f" WHERE period < {since} UNION ALL SELECT item_id, feed, {bucket}, sum(quantity), sum(revenue)"
            f" FROM demand WHERE day >= {since} GROUP BY 1, 2, 3"
        )
        op.execute(
            f"SELECT add_continuous_aggregate_policy('{view}_aggregate', start_offset => INTERVAL '6 months',"
            " end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '1 day')"
        )
    op.execute(
        "INSERT INTO rollup_pending (first_day, last_day) SELECT min(day), max(day) FROM demand HAVING count(*) > 0"
    )


def downgrade() -> None:
    """Undo."""
    connection = op.get_bind()
    query = text("SELECT value FROM capability WHERE name = :name")
    if connection.execute(query, {"name": timeseries.HYPERTABLES}).scalar() is None:
        for table in GRAINS.values():
            op.drop_table(table)
    else:
        for view in GRAINS.values():
            op.execute(f"DROP VIEW {view}")
            op.execute(f"DROP MATERIALIZED VIEW {view}_aggregate")
        op.execute("DROP FUNCTION demand_pending_from()")
        retention.remove_policies(connection)
        for table in ("demand", "forecast"):
            op.execute(f"SELECT decompress_chunk(chunk, true) FROM show_chunks('{table}') AS chunk")
            op.execute(f"ALTER TABLE {table} SET (timescaledb.enable_columnstore = false)")
    for event in ("insert", "update"):
        op.execute(f"DROP TRIGGER job_event_of_{event} ON job")
        op.execute(f"DROP FUNCTION job_event_of_{event}()")
    op.drop_table("job_event")
    op.drop_table("rollup_pending")
