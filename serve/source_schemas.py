"""What the API says and takes about sources and the connectors that read them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from actors.config_secrets import secret_fields
from actors.connectors import Discovery, reason_of
from actors.secrets import shown
from db.models import Source
from fmrp_sdk import Connector, LoadedConnector, LoadReport
from serve.mapping_schemas import MappingName
from serve.parameters import LARGEST, NO_CONTROL, Key, Name

SOURCE_CODE = r"^[A-Za-z][A-Za-z0-9_-]*\Z"
_Code = Annotated[str, Meta(min_length=1, max_length=60, pattern=SOURCE_CODE, description="What it is known by.")]
_ConnectorName = Annotated[
    str,
    Meta(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_]*\Z", description="One of `GET /sources/connectors`."),
]
# A private key has many lines; a service account's is in JSON.
_Text = Annotated[str, Meta(max_length=20_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z")]
_Number = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] | Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Value = _Text | _Number | bool | None
_Values1 = _Value | Annotated[list[_Value], Meta(max_length=500)] | Annotated[dict[Key, _Value], Meta(max_length=100)]
_Values2 = (
    _Value | Annotated[list[_Values1], Meta(max_length=500)] | Annotated[dict[Key, _Values1], Meta(max_length=100)]
)
_Values3 = (
    _Value | Annotated[list[_Values2], Meta(max_length=500)] | Annotated[dict[Key, _Values2], Meta(max_length=100)]
)
_Config = Annotated[
    dict[Key, _Values3],
    Meta(
        max_length=100,
        description="As the connector's `config_schema` says. A secret is never shown, only that it is set. Instead of"
        " it a reference can be given, which is: `env:NAME` of an environment variable, `file:/path` of a file.",
    ),
]


class SourceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files whose name fits `pattern` (* and ? as wildcards) are read with `mapping`; the first rule that fits counts.

    Files that wait together are read in the order of the rules.
    """

    pattern: Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
    mapping: MappingName


_Rules = Annotated[list[SourceRule], Meta(max_length=100)]


class SourceIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A source: a connector, how it reaches what it reads, and how its files are read."""

    code: _Code
    name: Name
    connector: _ConnectorName
    config: _Config = {}
    rules: _Rules = []
    active: bool = True


class SourceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to change; what is left out stays. `config` is replaced whole, but for secrets: a field with one that is
    left out stays as it is, null clears it."""

    name: Name | UnsetType = UNSET
    connector: _ConnectorName | UnsetType = UNSET
    config: _Config | UnsetType = UNSET
    rules: _Rules | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class SourceOut(msgspec.Struct, frozen=True, kw_only=True):
    """A configured source. In `config`, "(set)" stands for a secret."""

    id: uuid.UUID
    code: str
    name: str
    connector: str
    active: bool
    config: dict[str, Any]
    rules: list[SourceRule]
    revision: int
    created_at: datetime
    updated_at: datetime


class ConnectorOut(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of source. `problem` says why one that is installed cannot be used."""

    name: str
    version: str
    distribution: str
    capabilities: list[str]
    config_schema: dict[str, Any]
    secret_fields: list[str]
    problem: str | None = None


class SourceRun(msgspec.Struct, frozen=True):
    """The last reading of a source that has ended, over all its files: read = taken + merged + rejected."""

    job_id: uuid.UUID
    state: Literal["done", "failed", "held", "cancelled"]
    finished_at: datetime
    files: int
    failed_files: int
    read: int
    taken: int
    merged: int
    rejected: int


class SourceJob(msgspec.Struct, frozen=True):
    """The reading of a source that runs now, or waits until `run_at`."""

    job_id: uuid.UUID
    state: Literal["running", "waiting"]
    run_at: datetime


class SourceStatus(msgspec.Struct, frozen=True):
    """How a source is doing. `dead_jobs` wait for a person (`POST /jobs/{id}/retry`); `problem` says why it cannot be
    read at all; `last_error` is of what runs or waits now, or of the last reading, until one goes well."""

    last_run: SourceRun | None
    job: SourceJob | None
    dead_jobs: int
    next_run_at: datetime | None
    last_error: str | None
    problem: str | None


class SourceRow(SourceOut, frozen=True, kw_only=True):
    """A source of the list, and how it is doing."""

    status: SourceStatus


class SourceCheckIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask with: nothing for the stored configuration; else this one, with the stored secrets it leaves
    out."""

    config: _Config | None = None


class NewSourceCheckIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A connector and a configuration to try out before there is a source."""

    connector: _ConnectorName
    config: _Config = {}


class SourceResetIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The source's code, to show that it is meant. Not needed with If-Match."""

    confirm: _Code | None = None


class FileFound(msgspec.Struct, frozen=True):
    """A file at the source. `problem` says why it would not be taken."""

    name: str
    size: int
    modified_at: datetime
    problem: str | None


class StreamFound(msgspec.Struct, frozen=True):
    """A table, query or endpoint at the source: its columns and their types in the source's own words, the columns
    that tell its rows apart, and the one by which only what is new is read (null: all of it each time)."""

    name: str
    columns: dict[str, str]
    key: list[str]
    cursor: str | None
    problem: str | None


class DiscoveryOut(msgspec.Struct, frozen=True):
    """What a source holds now; if that cannot be said, `ok` is false and `message` tells what to do about it. Not
    `complete`: there is more than is shown."""

    ok: bool
    message: str
    files: list[FileFound]
    streams: list[StreamFound]
    complete: bool


def source_status_of(row: Any, next_run_at: datetime | None, problem: str | None) -> SourceStatus:
    """A row of `db.repositories.source_status`, and what the database does not know."""
    counts = ("files", "failed_files", "read", "taken", "merged", "rejected")
    last = row.last_id and SourceRun(
        row.last_id, row.last_state, row.finished_at, *(int(getattr(row, name)) for name in counts)
    )
    ended_badly = row.job_error or row.last_state if row.last_state not in (None, "done") else row.file_error
    error = row.retry_reason or ended_badly
    return SourceStatus(
        last_run=last,
        job=row.job_id and SourceJob(row.job_id, row.job_state, row.run_at),
        dead_jobs=row.dead_jobs,
        next_run_at=next_run_at,
        last_error=error and error.partition("\n")[0][:500],
        problem=problem,
    )


def discovery_out(found: Discovery) -> DiscoveryOut:
    """What was found."""
    return DiscoveryOut(
        found.ok,
        found.message,
        [FileFound(each.name, each.size, each.modified_at, each.problem) for each in found.files],
        [
            StreamFound(each.name, dict(each.columns), list(each.key), each.cursor, each.problem)
            for each in found.streams
        ],
        found.is_complete,
    )


class SourceCheckOut(msgspec.Struct, frozen=True):
    """Whether the source can be reached, and if not, what to do about it."""

    ok: bool
    message: str


def source_out(source: Source, connector: type[Connector] | None) -> SourceOut:
    """A stored source, without its secrets."""
    return SourceOut(**_shown(source, connector))


def source_row(source: Source, connector: type[Connector] | None, status: SourceStatus) -> SourceRow:
    """The same with how it is doing."""
    return SourceRow(**_shown(source, connector), status=status)


def _shown(source: Source, connector: type[Connector] | None) -> dict[str, Any]:
    return {
        "id": source.id,
        "code": source.code,
        "name": source.name,
        "connector": source.connector,
        "active": source.active,
        "config": shown(connector, source.config),
        "rules": [SourceRule(str(rule["pattern"]), str(rule["mapping"])) for rule in source.rules],
        "revision": source.revision,
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def connectors_out(plugins: LoadReport) -> list[ConnectorOut]:
    """Every installed connector, by name; those that are switched off after the others."""
    usable = [_connector_out(each) for _, each in sorted(plugins.connectors.items())]
    broken = [
        ConnectorOut(
            name=failure.connector or failure.entry_point,
            version="",
            distribution=failure.distribution,
            capabilities=[],
            config_schema={},
            secret_fields=[],
            problem=reason_of(failure),
        )
        for failure in plugins.failures
    ]
    return usable + broken


def _connector_out(loaded: LoadedConnector) -> ConnectorOut:
    model = loaded.connector.config_model
    return ConnectorOut(
        name=loaded.name,
        version=loaded.version,
        distribution=loaded.distribution,
        # The contract asks these three of every connector; one may say what more it can do.
        capabilities=sorted({"check", "discover", "read", *getattr(loaded.connector, "capabilities", ())}),
        config_schema=model.model_json_schema(),
        secret_fields=sorted(secret_fields(model)),
    )
