"""What the API says and takes about sources and the connectors that read them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from actors.connectors import secret_fields, shown
from db.models import Source
from fmrp_sdk import Connector, LoadedConnector, LoadReport
from serve.mapping_schemas import MappingName
from serve.parameters import NO_CONTROL, Name, Options

SOURCE_CODE = r"^[A-Za-z][A-Za-z0-9_-]*\Z"
_Code = Annotated[str, Meta(min_length=1, max_length=60, pattern=SOURCE_CODE, description="What it is known by.")]
_ConnectorName = Annotated[
    str,
    Meta(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_]*\Z", description="One of `GET /sources/connectors`."),
]
_Config = Annotated[
    Options, Meta(description="As the connector's `config_schema` says. A secret is never shown, only that it is set.")
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
    """What is to change; what is left out stays. `config` is replaced whole, but for secrets: one that is left out
    stays as it is, null clears it."""

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


class SourceCheckIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to check with: nothing for the stored configuration; else this one, with the stored secrets it leaves
    out."""

    config: _Config | None = None


class SourceCheckOut(msgspec.Struct, frozen=True):
    """Whether the source can be reached, and if not, what to do about it."""

    ok: bool
    message: str


def source_out(source: Source, connector: type[Connector] | None) -> SourceOut:
    """A stored source, without its secrets."""
    return SourceOut(
        id=source.id,
        code=source.code,
        name=source.name,
        connector=source.connector,
        active=source.active,
        config=shown(connector, source.config),
        rules=[SourceRule(str(rule["pattern"]), str(rule["mapping"])) for rule in source.rules],
        revision=source.revision,
        created_at=source.created_at,
        updated_at=source.updated_at,
    )


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
            problem=failure.reason,
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
