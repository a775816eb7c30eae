"""The contract's own types, and that the conformance kit fails connectors that break their promises."""

import asyncio
import inspect
import io
import logging
import pickle
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

import fmrp_sdk
from fmrp_sdk import Batch, CheckResult, FileBatch, FileInfo, RecordsBatch, RetriableError, SkippableError, StreamInfo
from fmrp_sdk.testing import ConnectorSuite, Content, SourceUnderTest
from fmrp_sdk.testing.readings import Reader
from fmrp_sdk.testing.servers import silent_server

NOW = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "error",
    [
        fmrp_sdk.RetriableError("host down", retry_after_s=30.0),
        fmrp_sdk.SkippableError("too large"),
        fmrp_sdk.FatalError("wrong password"),
    ],
)
def test_errors_survive_pickling(error: fmrp_sdk.ConnectorError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert getattr(back, "retry_after_s", None) == getattr(error, "retry_after_s", None)
    assert isinstance(back, fmrp_sdk.ConnectorError)


def test_content_is_cut_off_at_the_limit_whatever_the_claimed_size() -> None:
    endless = FileBatch("a.csv", 3, NOW, 10, lambda: io.BytesIO(b"x" * 11))
    with pytest.raises(SkippableError, match=r"a\.csv: larger than the limit of 10 bytes"):
        asyncio.run(endless.read())
    whole = FileBatch("a.csv", 3, NOW, 10, lambda: io.BytesIO(b"x" * 10))
    assert asyncio.run(whole.read()) == b"x" * 10


def test_asynchronous_content_is_cut_off_as_well() -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"xx"

    assert asyncio.run(FileBatch("a.csv", 3, NOW, 10, lambda: chunks(5)).read()) == b"x" * 10
    with pytest.raises(SkippableError, match=r"a\.csv: larger than the limit of 10 bytes"):
        asyncio.run(FileBatch("a.csv", 3, NOW, 10, lambda: chunks(6)).read())


class Config(BaseModel):
    """Configuration of the connectors below."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(default="h", description="Host.")
    port: int = Field(default=0, description="Port.")
    password: SecretStr = Field(default=SecretStr("hunter22"), description="Password.")
    counter: Path | None = Field(default=None, description="Holds how many files there are; else three.")

    @property
    def count(self) -> int:
        return int(self.counter.read_text()) if self.counter else 3


class Sound:
    """As many files as the configuration says; the state is the count read."""

    api_version = 1
    name = "sound"
    version = "1"
    config_model: type[BaseModel] = Config

    def check(self, config: Any) -> CheckResult:
        return CheckResult(config.host == "h" and not config.port, "the host does not answer")

    def discover(self, config: Any) -> list[FileInfo]:
        return [FileInfo(f"f{n}", 2, NOW) for n in range(config.count)]

    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        if config.host != "h" or config.port:
            raise RetriableError("the host does not answer")
        if state and state["version"] > 1:
            return
        for n in range((state or {}).get("count", 0), config.count):
            yield Batch(self.file(n), self.state(n + 1))

    def file(self, n: int) -> FileBatch:
        return FileBatch(f"f{n}", 2, NOW, 10, lambda: io.BytesIO(b"%d" % n))

    def state(self, count: int) -> dict[str, Any]:
        return {"version": 1, "count": count}


class Asynchronous(Sound):
    """The same, with `async` everywhere."""

    async def check(self, config: Any) -> CheckResult:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().check(config)

    async def discover(self, config: Any) -> list[FileInfo]:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().discover(config)

    async def read(self, config: Any, state: Mapping[str, Any] | None) -> AsyncIterator[Batch]:  # type: ignore[override]
        for batch in super().read(config, state):
            await asyncio.sleep(0)
            yield batch

    def file(self, n: int) -> FileBatch:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"%d" % n

        return FileBatch(f"f{n}", 2, NOW, 10, chunks)


class OfRecords(Sound):
    """Rows in place of files."""

    def discover(self, config: Any) -> list[StreamInfo]:  # type: ignore[override]
        return [StreamInfo("rows", {"n": "integer"}, key=("n",), cursor="n")]

    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        for batch in super().read(config, state):
            rows = pl.DataFrame({"n": [batch.state["count"] - 1]})
            yield Batch(RecordsBatch("rows", rows), batch.state)


class Counted(SourceUnderTest):
    """The source of these: nothing but a number."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.count = 2
        self.add()

    def config(self) -> BaseModel:
        return Config(counter=self.folder / "count")

    def contents(self) -> list[Content]:
        return [(f"f{n}", b"%d" % n) for n in range(self.count)]

    def add(self) -> None:
        self.count += 1
        (self.folder / "count").write_text(str(self.count))

    def spoil(self) -> None:
        pass

    def bad_configs(self) -> list[BaseModel]:
        return [Config(host="down"), Config(host="away")]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return Config(port=port)


class CountedRecords(Counted):
    """The same, as rows."""

    def contents(self) -> list[Content]:
        return [("rows", {"n": n}) for n in range(self.count)]


class TestSound(ConnectorSuite):
    connector_class = Sound
    source_class = Counted


class TestAsynchronous(ConnectorSuite):
    connector_class = Asynchronous
    source_class = Counted


class TestOfRecords(ConnectorSuite):
    connector_class = OfRecords
    source_class = CountedRecords


class Gap(Sound):
    def state(self, count: int) -> dict[str, Any]:
        return super().state(count + 1)


class Repeats(Sound):
    def state(self, count: int) -> dict[str, Any]:
        return super().state(count - 1)


class Unversioned(Sound):
    def state(self, count: int) -> dict[str, Any]:
        return {"count": count}

    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        return super().read(config, {**state, "version": 1} if state else state)


class LeaksSecret(Sound):
    def state(self, count: int) -> dict[str, Any]:
        return {**super().state(count), "url": "sftp://me:hunter22@h"}


class LogsSecret(Sound):
    def check(self, config: Any) -> CheckResult:
        logging.getLogger("leak").debug("logging in with %s", config.password.get_secret_value())
        return super().check(config)


class NeverFails(Sound):
    def check(self, config: Any) -> CheckResult:
        return CheckResult(True, "")


class RaisesItsOwn(Sound):
    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        if config.port:
            raise OSError("connection reset")
        return super().read(config, state)


class Hangs(Sound):
    def check(self, config: Any) -> CheckResult:
        if config.port:
            with socket.create_connection(("127.0.0.1", config.port)) as connection:
                connection.recv(1)
        return super().check(config)


class LeavesThreads(Sound):
    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        threading.Thread(target=threading.Event().wait, args=(15,), daemon=True).start()
        yield from super().read(config, state)


class OpenPassword(Sound):
    class config_model(BaseModel):
        host: str = Field(default="h", description="Host.")
        api_key: str = Field(default="", description="Key.")


class Unbounded(Sound):
    def file(self, n: int) -> FileBatch:
        return FileBatch(f"f{n}", 2, NOW.replace(tzinfo=None), 10, lambda: io.BytesIO(b"1"))


class WrongApi(Sound):
    api_version = 7


class IgnoresFuture(Sound):
    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        return super().read(config, {**state, "version": 1, "count": 0} if state else state)


@pytest.mark.parametrize(
    ("connector", "test", "error"),
    [
        (Gap, "test_reading_goes_on_from_each_state_without_gap_or_duplicate", AssertionError),
        (Repeats, "test_reading_goes_on_from_each_state_without_gap_or_duplicate", AssertionError),
        (Repeats, "test_after_the_last_state_only_what_is_new_is_given", AssertionError),
        (Unversioned, "test_state_is_versioned_json_free_of_secrets", AssertionError),
        (LeaksSecret, "test_state_is_versioned_json_free_of_secrets", AssertionError),
        (LogsSecret, "test_secrets_are_never_told", AssertionError),
        (NeverFails, "test_check_fails_with_a_sentence_to_act_on", AssertionError),
        (RaisesItsOwn, "test_reading_from_a_silent_server_ends_with_a_retriable_error", OSError),
        (Hangs, "test_check_of_a_silent_server_ends", (AssertionError, TimeoutError)),
        (LeavesThreads, "test_a_cancelled_reading_leaves_nothing_behind", AssertionError),
        (OpenPassword, "test_secrets_are_marked", AssertionError),
        (Unbounded, "test_content_is_bounded", AssertionError),
        (WrongApi, "test_declares_name_version_and_api", AssertionError),
        (IgnoresFuture, "test_state_of_a_newer_version_gives_nothing_or_a_fatal_error", AssertionError),
    ],
)
def test_the_suite_catches(
    connector: type[Any],
    test: str,
    error: type[Exception],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    suite = type("Suite", (ConnectorSuite,), {"connector_class": connector, "source_class": Counted, "patience_s": 1.0})
    source = Counted(tmp_path)
    check: Callable[..., None] = getattr(suite(), test)
    with silent_server() as address:
        given = {
            "connector_source": source,
            "reader": Reader(connector, source.config(), 1.0),
            "silent_address": address,
            "caplog": caplog,
            "capfd": capfd,
        }
        wanted = {name: given[name] for name in inspect.signature(check).parameters}
        with pytest.raises(error):
            check(**wanted)


def test_a_source_that_leaves_something_out_is_none(tmp_path: Path) -> None:
    class Half(Counted):
        spoil = SourceUnderTest.spoil

    with pytest.raises(TypeError, match="spoil"):
        Half(tmp_path)
