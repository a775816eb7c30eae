"""The contract's own types, and that the conformance kit fails connectors that break their promises."""

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

import fmrp_sdk
from fmrp_sdk import Batch, CheckResult, FileBatch, FileInfo, SkippableError
from fmrp_sdk.testing import ConnectorConformance

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
        endless.read()
    assert FileBatch("a.csv", 3, NOW, 10, lambda: io.BytesIO(b"x" * 10)).read() == b"x" * 10


class Config(BaseModel):
    """Configuration of the connector below."""

    host: str = Field(default="h", description="Host.")
    password: SecretStr = Field(default=SecretStr("hunter22"), description="Password.")


class Sound:
    """Three files, state is the count read."""

    api_version = 1
    name = "sound"
    version = "1"
    config_model: type[BaseModel] = Config

    def check(self, config: Any) -> CheckResult:
        return CheckResult(config.host != "down", "host does not answer")

    def discover(self, config: Any) -> list[FileInfo]:
        return [FileInfo(f"f{n}", 2, NOW) for n in range(3)]

    def read(self, config: Any, state: Mapping[str, Any] | None) -> Iterator[Batch]:
        if state and state["version"] > 1:
            return
        for n in range((state or {}).get("count", 0), 3):
            yield Batch(self.file(n), self.state(n + 1))

    def file(self, n: int) -> FileBatch:
        return FileBatch(f"f{n}", 2, NOW, 10, lambda: io.BytesIO(b"%d" % n))

    def state(self, count: int) -> dict[str, Any]:
        return {"version": 1, "count": count}


class Kit(ConnectorConformance):
    def good_source(self, tmp_path: Path) -> BaseModel:
        return self.connector_class.config_model()

    def bad_configs(self, tmp_path: Path) -> list[BaseModel]:
        return [self.connector_class.config_model(host="down")]


class TestSoundConnectorConforms(Kit):
    connector_class = Sound


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


class NeverFails(Sound):
    def check(self, config: Any) -> CheckResult:
        return CheckResult(True, "")


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
    ("connector", "test"),
    [
        (Gap, "test_reading_resumes_from_each_state_without_gap_or_duplicate"),
        (Repeats, "test_reading_resumes_from_each_state_without_gap_or_duplicate"),
        (Unversioned, "test_state_is_versioned_json_and_free_of_secrets"),
        (LeaksSecret, "test_state_is_versioned_json_and_free_of_secrets"),
        (NeverFails, "test_check_fails_well"),
        (OpenPassword, "test_secrets_are_marked"),
        (Unbounded, "test_content_is_bounded"),
        (IgnoresFuture, "test_state_of_a_newer_version_gives_nothing_or_a_fatal_error"),
    ],
)
def test_kit_catches(connector: type[Any], test: str, tmp_path: Path) -> None:
    kit = type("K", (Kit,), {"connector_class": connector})()
    check: Callable[..., None] = getattr(kit, test)
    with pytest.raises(AssertionError):
        check() if test == "test_secrets_are_marked" else check(tmp_path)


def test_kit_catches_wrong_api() -> None:
    with pytest.raises(AssertionError):
        type("K", (Kit,), {"connector_class": WrongApi})().test_declares_name_version_and_api()


def test_kit_fails_when_left_unfilled(tmp_path: Path) -> None:
    kit = type("K", (ConnectorConformance,), {"connector_class": Sound})()
    with pytest.raises(NotImplementedError, match="good_source"):
        kit.test_two_reads_are_equal(tmp_path)
    with pytest.raises(NotImplementedError, match="bad_configs"):
        kit.test_check_fails_well(tmp_path)
