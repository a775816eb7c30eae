"""The database connector against the conformance kit, on SQLite, PostgreSQL and MariaDB."""

from erp_db_source import MariaDbSource, PostgresSource, SqliteSource

from fmrp_erp_db import ErpDbConnector
from fmrp_sdk.testing import ConnectorSuite


class TestSqlite(ConnectorSuite):
    connector_class = ErpDbConnector
    source_class = SqliteSource


class TestPostgres(ConnectorSuite):
    connector_class = ErpDbConnector
    source_class = PostgresSource


class TestMariaDb(ConnectorSuite):
    connector_class = ErpDbConnector
    source_class = MariaDbSource
