"""A connector for tests of sources, found by entry point where a test installs it: what it does, its host says."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from fmrp_sdk import (
    Batch,
    CheckResult,
    FatalError,
    FileBatch,
    FileInfo,
    Offer,
    RetriableError,
    SkippableError,
    StreamInfo,
    hookimpl,
)


class Login(BaseModel):
    """One of several ways in."""

    user: str
    password: SecretStr


class ErpConfig(BaseModel):
    """What the connector of these tests must be told."""

    model_config = ConfigDict(extra="forbid")

    host: str
    password: SecretStr | None = None
    logins: list[Login] = []

    @field_validator("host")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if value.startswith("http"):
            raise ValueError(f"expected a host, not {value}")
        return value


class ErpConnector:
    """Answers by the name of its host."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "erp"
    version: ClassVar[str] = "1.0"
    config_model: ClassVar[type[BaseModel]] = ErpConfig
    asked: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def check(self, config: ErpConfig) -> CheckResult:
        self.asked.append(_password(config))
        if config.host == "says":
            return CheckResult(False, f"the log-in with {_password(config)} was refused")
        _act(config)
        return CheckResult(True, "3 files wait")

    async def discover(self, config: ErpConfig) -> list[Offer]:
        if config.host == "many":
            return [FileInfo(f"{number}.csv", number, datetime(2026, 11, 23)) for number in range(5000)]
        if config.host == "nonsense":
            return ["items.csv"]  # type: ignore[list-item]
        _act(config)
        return [
            FileInfo("items.csv", 12, datetime(2026, 11, 23, tzinfo=UTC)),
            FileInfo("b\ud800d.csv", 0, datetime(2026, 11, 23, tzinfo=UTC), f"refused with {_password(config)}"),
            StreamInfo("orders", {"id": "INTEGER", "at": "TIMESTAMP"}, ("id",), "at"),
        ]

    def read(self, config: ErpConfig, state: Any) -> Iterator[Batch]:
        if config.host == "skips":

            def opener() -> Any:
                raise SkippableError(f"items.csv: the key {_password(config)} does not open it")

            yield Batch(FileBatch("items.csv", 1, datetime(2026, 11, 23, tzinfo=UTC), 100, opener), {"version": 1})
            return
        _act(config)


def _password(config: ErpConfig) -> str:
    return config.password.get_secret_value() if config.password else ""


def _act(config: ErpConfig) -> None:
    """Go wrong as the host says."""
    password = _password(config)
    logging.getLogger("erp").warning("logs in with %s", password)
    warnings.warn(f"{password} is weak", stacklevel=1)
    if config.host == "hangs":
        ErpConnector.over.wait(60)
    if config.host == "down":
        raise RetriableError("erp.example is down: try again later")
    if config.host == "tells":
        raise FatalError(f"erp refused the password {password!r}")
    if config.host == "broken":
        raise KeyError(f"password={password}")
    if config.host == "chained":
        try:
            raise ConnectionError(f"https://erp:{password}@erp.example/?key={password}")
        except ConnectionError as error:
            raise RuntimeError(f"log-in with {password}\nfailed") from error


@hookimpl
def fmrp_register_connectors(register: Callable[[Any], None]) -> None:
    """The connector, for the loader."""
    register(ErpConnector)
