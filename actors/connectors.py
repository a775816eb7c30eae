"""Connectors as the plant's people see them: what one must be told, whether it answers, and what stays secret."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import structlog
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from fmrp_sdk import CheckResult, Connector, ConnectorRun
from fmrp_sdk.errors import ConnectorError

SET = "(set)"
"""Stands for a secret that is stored; given back, it keeps what is stored."""
# A check may hang in foreign code, and a thread cannot be ended: so many may hang before no more are begun.
CHECKS_AT_ONCE = 4

_checking = threading.BoundedSemaphore(CHECKS_AT_ONCE)
log = structlog.get_logger(__name__)


class BadConfig(ValueError):
    """Not what the connector asks for; `errors` holds the path of each field at fault and what is wrong with it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = dict(errors)


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
        raise BadConfig(found) from error


def secret_fields(model: type[BaseModel]) -> set[str]:
    """Fields that hold a secret, or a structure with one in it."""
    return {name for name, field in model.model_fields.items() if any(_secrets(field.annotation))}


def _secrets(annotation: Any) -> Iterator[Any]:
    """Secret types in a type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, (SecretStr, SecretBytes)):
        yield annotation
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from secret_fields(annotation)
    for inner in get_args(annotation):
        yield from _secrets(inner)


def shown(connector: type[Connector] | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without its secrets. What the connector does not know, or nobody does, counts as secret."""
    model = None if connector is None else connector.config_model
    open_fields = set() if model is None else model.model_fields.keys() - secret_fields(model)
    return {name: value if name in open_fields or value is None else SET for name, value in config.items()}


def kept(connector: type[Connector], stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and of what is stored the secrets that are left out or given as `SET`; null clears one."""
    secrets = secret_fields(connector.config_model)
    config = {name: value for name, value in given.items() if name not in secrets or value not in (SET, None)}
    for name in secrets & stored.keys():
        if given.get(name, SET) == SET:
            config[name] = stored[name]
    return config


async def check(connector: type[Connector], config: BaseModel, patience_s: float) -> CheckResult:
    """Ask the connector whether its source can be reached; what it does not answer in time, or at all, is a no."""
    if not _checking.acquire(blocking=False):
        return CheckResult(False, "other checks are still waiting for their sources; try again in a while")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[CheckResult] = loop.create_future()
    # Of its own, and a daemon: neither others' work nor the end of the process may wait for a source that hangs.
    threading.Thread(target=_ask, args=(connector, config, loop, answer), daemon=True).start()
    try:
        async with asyncio.timeout(patience_s):
            return await answer
    except TimeoutError:
        return CheckResult(False, f"no answer within {patience_s:g} seconds: is the address right, and open from here?")


def _ask(
    connector: type[Connector],
    config: BaseModel,
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[CheckResult],
) -> None:
    try:
        run = ConnectorRun(connector(), config)
        try:
            result = run.check().result()
        finally:
            run.close()
    except ConnectorError as error:
        result = CheckResult(False, str(error))
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything; what it says may hold a secret
        log.warning("connector check failed", connector=connector.name, error=type(error).__name__)
        result = CheckResult(False, f"the connector {connector.name} failed over it: {type(error).__name__}")
    finally:
        _checking.release()
    try:
        loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(result))
    except RuntimeError:
        log.info("a connector answered after the process had stopped listening", connector=connector.name)
