"""What a database needs to know."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fmrp_erp_db.query_guard import NotOneSelect, single_select

Dialect = Literal["postgresql", "mysql", "mssql", "sqlite"]
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_NAME = re.compile(r"[A-Za-z0-9_.\- ]{1,100}")


class StreamConfig(BaseModel):
    """One table or query that is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the stream, by which mappings know it: letters, digits, _ . - and spaces.")
    table: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="Table or view, as 'schema.table' or 'table', written exactly as the database has it.",
    )
    query: str | None = Field(
        default=None, max_length=20_000, description="Instead of a table: one SELECT, without comments or semicolons."
    )
    columns: tuple[str, ...] = Field(
        default=(), max_length=500, description="Columns to read; none: all. Key and cursor are always read."
    )
    mode: Literal["incremental", "snapshot"] = Field(
        default="incremental",
        description="incremental: only rows that are new or changed by their cursor. snapshot: all rows, each time.",
    )
    cursor: str | None = Field(
        default=None, description="Incremental: the column that grows with each change, such as changed_at or a number."
    )
    key: tuple[str, ...] = Field(
        default=(), max_length=20, description="Columns that tell rows apart; none: the table's primary key."
    )
    lag: float = Field(
        default=3600.0,
        ge=0,
        le=1e12,
        description="How far before the last cursor each reading starts, so that changes committed late are caught: "
        "seconds for times (whole days for dates, at least one), units for numbers.",
    )
    start: str | None = Field(
        default=None,
        max_length=100,
        description="Cursor value the first reading starts at, e.g. 2024-01-01; none: all.",
    )
    missing: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="Rows without a value in cursor or key can never be read by it. refuse: the reading ends and says "
        "so. skip: they are left out.",
    )
    ahead_s: float = Field(
        default=0.0,
        ge=0,
        le=86_400,
        description="Seconds that cursors may be ahead of the database's clock; rows dated later wait until then.",
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} must be 1 to 100 letters, digits, spaces or _ . -")
        return name

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError(f"stream {self.name}: give either a table or a query")
        if self.mode == "incremental" and not self.cursor:
            raise ValueError(f"stream {self.name}: an incremental stream needs a cursor column; else use mode snapshot")
        if self.mode == "snapshot" and (self.cursor or self.start):
            raise ValueError(f"stream {self.name}: a snapshot is read as a whole: leave out cursor and start")
        if self.query is not None and not self.key:
            raise ValueError(f"stream {self.name}: a query needs its key: the columns that tell its rows apart")
        return self

    @property
    def schema_and_table(self) -> tuple[str | None, str]:
        """The two parts of `table`."""
        schema, dot, table = (self.table or "").partition(".")
        return (schema, table) if dot else (None, schema)


class ErpDbConfig(BaseModel):
    """Configuration of a database. It is only ever read: sessions are read-only and end in a rollback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dialect: Dialect = Field(description="postgresql, mysql (also MariaDB), mssql (SQL Server) or sqlite.")
    host: str = Field(
        default="",
        max_length=255,
        description="Host name or address; an absolute path is a local server's socket (of PostgreSQL: its folder).",
    )
    port: int | None = Field(default=None, ge=1, le=65_535, description="Port; none: the dialect's usual one.")
    database: str = Field(default="", max_length=200, description="Name of the database on the server.")
    user: str = Field(default="", max_length=200, description="Log-in with the right to SELECT and no other.")
    password: SecretStr | None = Field(default=None, description="Password of the log-in.")
    tls: Literal["verify", "unverified", "off"] = Field(
        default="verify",
        description="verify: encrypted, and the server's certificate and name are checked. unverified: encrypted only. "
        "off: in clear, for a trusted network.",
    )
    ca_pem: str | None = Field(
        default=None,
        max_length=200_000,
        description="Certificates (PEM text) of the authority that signed the server's; none: the system's.",
    )
    path: Path | None = Field(default=None, description="SQLite: absolute path of the file, as the worker sees it.")
    db_schema: str | None = Field(
        default=None, max_length=200, description="Schema whose tables are offered; none: the log-in's default schema."
    )
    connect_timeout_s: int = Field(default=15, ge=1, le=300, description="Seconds to wait for a connection.")
    statement_timeout_s: int = Field(default=100, ge=1, le=7200, description="Seconds any one statement may take.")
    chunk_rows: int = Field(default=20_000, ge=1, le=100_000, description="Rows read at a time.")
    streams: tuple[StreamConfig, ...] = Field(
        default=(), max_length=100, description="What is read, in this order: items before stock before orders."
    )

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("must be an absolute path: a relative one would depend on where the worker was started")
        return path

    @field_validator("ca_pem")
    @classmethod
    def _certificates(cls, ca_pem: str | None) -> str | None:
        if ca_pem is not None and "-----BEGIN CERTIFICATE-----" not in ca_pem:
            raise ValueError("must be certificates as PEM text, beginning with -----BEGIN CERTIFICATE-----")
        return ca_pem

    @model_validator(mode="after")
    def _fits_dialect(self) -> Self:
        if self.dialect == "sqlite":
            if self.path is None:
                raise ValueError("path: SQLite needs the path of its file")
            if self.host or self.user or self.database:
                raise ValueError("host, user and database: SQLite has none; give its path only")
        elif self.path is not None:
            raise ValueError("path: only SQLite is a file; give host, database and user")
        else:
            for name in ("host", "database", "user"):
                if not getattr(self, name):
                    raise ValueError(f"{name}: {self.dialect} needs it")
        if self.dialect == "mssql" and self.tls == "verify":
            raise ValueError(
                "tls: the driver for SQL Server (FreeTDS) cannot check certificates per connection; set 'unverified' "
                "(encrypted) and keep the way to the server within a trusted network"
            )
        return self

    @model_validator(mode="after")
    def _sound_streams(self) -> Self:
        names = [stream.name for stream in self.streams]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"streams: {', '.join(sorted(twice))} is there twice; names must differ")
        for stream in self.streams:
            if stream.query is not None:
                try:
                    single_select(stream.query, self.dialect)
                except NotOneSelect as error:
                    raise ValueError(f"stream {stream.name}: query {error}") from None
        return self
