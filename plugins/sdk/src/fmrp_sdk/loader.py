"""Finds the installed connectors by entry point, one at a time: a broken one is switched off and stops no other."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

import pluggy
from pydantic import BaseModel

from fmrp_sdk import hooks
from fmrp_sdk.connector import API_VERSION, Connector

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_METHODS = ("check", "discover", "read")


@dataclass(frozen=True, slots=True)
class LoadedConnector:
    """A connector ready for use and where it came from."""

    name: str
    version: str
    distribution: str
    entry_point: str
    connector: type[Connector]


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A connector (or a whole entry point, then `connector` is None) that is switched off, and why."""

    entry_point: str
    distribution: str
    connector: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded, by connector name, and what was not."""

    connectors: Mapping[str, LoadedConnector]
    failures: tuple[LoadFailure, ...]


def load_connectors(group: str = hooks.ENTRY_POINT_GROUP) -> LoadReport:
    """Loads every entry point of `group`, in the order of their names. Never raises for what a plugin does."""
    loaded: dict[str, LoadedConnector] = {}
    failures: list[LoadFailure] = []
    for entry_point in sorted(entry_points(group=group), key=lambda e: (e.name, _distribution(e))):
        for outcome in _load_one(entry_point):
            if isinstance(outcome, LoadFailure):
                failures.append(outcome)
            elif (first := loaded.get(outcome.name)) is not None:
                reason = f"the name '{outcome.name}' is already taken by {first.distribution} ({first.entry_point})"
                failures.append(LoadFailure(entry_point.name, outcome.distribution, outcome.name, reason))
            else:
                loaded[outcome.name] = outcome
    return LoadReport(MappingProxyType(loaded), tuple(failures))


def _load_one(entry_point: EntryPoint) -> Iterable[LoadedConnector | LoadFailure]:
    """All outcomes of one entry point. A manager of its own keeps a broken plugin's hooks away from the others."""
    distribution = _distribution(entry_point)

    def off(reason: str) -> list[LoadedConnector | LoadFailure]:
        return [LoadFailure(entry_point.name, distribution, None, reason)]

    modules_before = set(sys.modules)
    try:
        plugin = entry_point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything, and even try to exit
        for name in set(sys.modules) - modules_before:
            if name == entry_point.module or name.startswith(entry_point.module + "."):
                sys.modules.pop(name, None)
        return off(f"import of '{entry_point.value}' failed: {_told(error)}")

    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    registered: list[object] = []
    try:
        manager.register(plugin, name=entry_point.name)
        manager.check_pending()
        manager.hook.fmrp_register_connectors(register=registered.append)
    except pluggy.PluginValidationError as error:
        return off(f"hooks do not fit the contract: {error}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        return off(f"registering its connectors failed: {_told(error)}")
    if not registered:
        return off("registers no connector: is fmrp_register_connectors marked with fmrp_sdk.hookimpl?")
    return [_judge(found, entry_point, distribution) for found in registered]


def _judge(found: object, entry_point: EntryPoint, distribution: str) -> LoadedConnector | LoadFailure:
    """Checks one registered class against the contract."""
    label = getattr(found, "name", None)
    label = label if isinstance(label, str) else getattr(found, "__name__", repr(found))
    reason = _contract_breach(found)
    if reason is not None or not isinstance(found, type):
        return LoadFailure(entry_point.name, distribution, label, reason or "is not a class")
    return LoadedConnector(label, found.version, distribution, entry_point.name, found)  # type: ignore[attr-defined]


def _contract_breach(found: object) -> str | None:
    """What is wrong with a registered class; None when it fits."""
    if not isinstance(found, type):
        return f"registered {found!r}, expected a connector class"
    api_version = getattr(found, "api_version", None)
    if api_version != API_VERSION or isinstance(api_version, bool):
        return f"was built for API version {api_version}, this system speaks {API_VERSION}"
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"name {name!r} must be lower-case letters, digits and underscores, starting with a letter"
    version = getattr(found, "version", None)
    if not isinstance(version, str) or not version:
        return "has no version"
    model = getattr(found, "config_model", None)
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return "config_model must be a pydantic model"
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    return f"lacks {', '.join(missing)}()" if missing else None


def _distribution(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "unknown"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
