"""Connectors as the plant's people see them: which there are, whether one answers, and what its source holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC
from itertools import islice
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from actors.redact import redact_known, redact_text
from fmrp_sdk import (
    CheckResult,
    Connector,
    ConnectorRun,
    FileInfo,
    LoadFailure,
    LoadReport,
    StreamInfo,
    load_connectors,
)
from fmrp_sdk.errors import ConnectorError

# A question may hang in foreign code, and a thread cannot be ended: so many may hang before no more are asked.
QUESTIONS_AT_ONCE = 4
# What is shown of a source's contents.
MOST_OFFERS, MOST_COLUMNS, LONGEST_TEXT = 1000, 500, 500

T = TypeVar("T")

_asking = threading.BoundedSemaphore(QUESTIONS_AT_ONCE)
log = structlog.get_logger(__name__)


class BadConfig(ValueError):
    """Not what the connector asks for; `errors` holds the path of each field at fault and what is wrong with it."""

    def __init__(self, errors: Mapping[str, str], where: str = "") -> None:
        text = "; ".join(f"{field}: {message}" if field else message for field, message in errors.items())
        super().__init__(f"{where}: {text}" if where else text)
        self.errors = dict(errors)


@dataclass(frozen=True)
class Discovery:
    """What a source holds now, at most `MOST_OFFERS` of it; or in `message` why that cannot be said."""

    ok: bool
    message: str
    files: tuple[FileInfo, ...] = ()
    streams: tuple[StreamInfo, ...] = ()
    is_complete: bool = True


def load_installed() -> LoadReport:
    """The installed connectors; the log names those that are switched off. Call once a process."""
    plugins = load_connectors()
    for name, reason in switched_off(plugins).items():
        log.warning("connector switched off", connector=name, reason=reason)
    return plugins


def switched_off(plugins: LoadReport) -> dict[str, str]:
    """Why each connector that is installed and cannot be used is switched off, by its name or its entry point's."""
    found: dict[str, str] = {}
    for failure in plugins.failures:
        name, reason = failure.connector or failure.entry_point, reason_of(failure)
        found[name] = f"{found[name]}; {reason}" if name in found else reason
    return found


def reason_of(failure: LoadFailure) -> str:
    """Why a connector is switched off, as it may be shown: an import that failed may tell anything."""
    return _clean(redact_text(failure.reason))


def problem_of(plugins: LoadReport, name: str) -> str | None:
    """Why the connector of that name cannot be used here; None when it can."""
    if name in plugins.connectors:
        return None
    reason = switched_off(plugins).get(name)
    if reason is not None:
        return f"connector {name!r} is switched off: {reason}"
    return f"connector {name!r} is not installed"


def validated(connector: type[Connector], config: Mapping[str, Any]) -> BaseModel:
    """The configuration as the connector takes it.

    Raises:
        BadConfig: fields are missing, unknown or of values it does not take. No value is repeated: it may be a secret.
    """
    try:
        return connector.config_model.model_validate(dict(config))
    except ValidationError as error:
        found: dict[str, str] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            path = ".".join(str(part) for part in each["loc"])
            found.setdefault(path, each["msg"].removeprefix("Value error, "))
    except Exception as error:  # noqa: BLE001 - validators are foreign code
        found = {"": f"the connector {connector.name} failed over it: {type(error).__name__}"}
    # Not as its cause: that one tells the values.
    raise BadConfig(found)


async def check(connector: type[Connector], config: BaseModel, patience_s: float) -> CheckResult:
    """Ask the connector whether its source can be reached; what it does not answer in time, or at all, is a no."""

    def read(result: Any) -> CheckResult:
        if not isinstance(result, CheckResult):
            raise TypeError("expected a CheckResult")
        return replace(result, ok=bool(result.ok), message=_clean(result.message))

    return await _answer(connector, config, patience_s, ConnectorRun.check, read, lambda why: CheckResult(False, why))


async def discover(connector: type[Connector], config: BaseModel, patience_s: float) -> Discovery:
    """Ask the connector what its source holds; as patient as `check`."""
    return await _answer(
        connector, config, patience_s, ConnectorRun.discover, _discovery, lambda why: Discovery(False, why)
    )


def _discovery(offers: Iterable[Any]) -> Discovery:
    found = list(islice(offers, MOST_OFFERS + 1))
    files, streams = [], []
    for each in found[:MOST_OFFERS]:
        if isinstance(each, FileInfo):
            modified_at = each.modified_at if each.modified_at.tzinfo else each.modified_at.replace(tzinfo=UTC)
            problem = None if each.problem is None else _clean(each.problem)
            files.append(FileInfo(_clean(each.name), max(int(each.size), 0), modified_at, problem))
        elif isinstance(each, StreamInfo):
            streams.append(
                StreamInfo(
                    _clean(each.name),
                    {_clean(name): _clean(kind) for name, kind in islice(each.columns.items(), MOST_COLUMNS)},
                    tuple(map(_clean, each.key[:MOST_COLUMNS])),
                    None if each.cursor is None else _clean(each.cursor),
                    None if each.problem is None else _clean(each.problem),
                )
            )
        else:
            raise TypeError("expected FileInfo or StreamInfo")
    is_complete = len(found) <= MOST_OFFERS
    message = f"{len(files)} file(s) and {len(streams)} stream(s)" + ("" if is_complete else "; there are more")
    return Discovery(True, message, tuple(files), tuple(streams), is_complete)


def _clean(text: object) -> str:
    """A text of foreign code as it may be shown: without known secrets, short, and in valid Unicode."""
    return redact_known(str(text))[:LONGEST_TEXT].encode("utf-8", "replace").decode()


async def _answer(
    connector: type[Connector],
    config: BaseModel,
    patience_s: float,
    question: Callable[[ConnectorRun], Future[Any]],
    read: Callable[[Any], T],
    refused: Callable[[str], T],
) -> T:
    """What `read` makes of the connector's answer, or `refused` of the reason why there is none."""
    if not _asking.acquire(blocking=False):
        return refused("other questions still wait for their sources; try again in a while")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def ask() -> None:
        try:
            result = _asked(connector, config, question, read, refused)
        finally:
            _asking.release()
        try:
            loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(result))
        except RuntimeError:
            log.info("a connector answered after the process had stopped listening", connector=connector.name)

    # Of its own, and a daemon: neither others' work nor the end of the process may wait for a source that hangs.
    threading.Thread(target=ask, daemon=True).start()
    try:
        async with asyncio.timeout(patience_s):
            return await answer
    except TimeoutError:
        return refused(f"no answer within {patience_s:g} seconds: is the address right, and open from here?")


def _asked(
    connector: type[Connector],
    config: BaseModel,
    question: Callable[[ConnectorRun], Future[Any]],
    read: Callable[[Any], T],
    refused: Callable[[str], T],
) -> T:
    try:
        run = ConnectorRun(connector(), config)
        try:
            return read(question(run).result())
        finally:
            run.close()
    except ConnectorError as error:
        return refused(_clean(error))
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything; what it says may hold a secret
        log.warning("connector failed over a question", connector=connector.name, error=type(error).__name__)
        return refused(f"the connector {connector.name} failed over it: {type(error).__name__}")
