"""The watched folder: conformance, and what is its own: settling, markers, links, limits, changed files."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from fmrp_folder import FolderConfig, FolderConnector
from fmrp_sdk import FatalError, RetriableError, SkippableError
from fmrp_sdk.testing import ConnectorSuite, Content, SourceUnderTest

T0 = 1_700_000_000


def drop(folder: Path, name: str, content: bytes, at: int = T0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def names(config: FolderConfig, state: object = None, now: float = T0 + 1_000) -> list[str]:
    return [batch.content.name for batch in FolderConnector(clock=lambda: now).read(config, state)]


class DropFolder(SourceUnderTest):
    """Four files, one of them too large to be taken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._files = {name: name.encode() * (place + 1) for place, name in enumerate(["c.csv", "a.csv", "b.xlsx"])}
        for place, (name, content) in enumerate(self._files.items()):
            drop(folder / "drop", name, content, T0 + place)
        drop(folder / "drop", "huge.csv", b"x" * 2_000, T0 + 1)

    def config(self) -> BaseModel:
        return FolderConfig(path=self.folder / "drop", max_file_bytes=1_000)

    def contents(self) -> list[Content]:
        return list(self._files.items())

    def add(self) -> None:
        self._files["new.csv"] = b"new"
        drop(self.folder / "drop", "new.csv", b"new", T0 + 100)

    def spoil(self) -> None:
        (self.folder / "drop" / "nowhere.csv").symlink_to(self.folder / "missing")

    def bad_configs(self) -> list[BaseModel]:
        loop = self.folder / "loop"
        loop.symlink_to(loop)
        not_a_folder = drop(self.folder, "file", b"")
        return [FolderConfig(path=path) for path in (self.folder / "missing", not_a_folder, loop)]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return None


class TestFolder(ConnectorSuite):
    connector_class = FolderConnector
    source_class = DropFolder


def test_oldest_first_and_only_matching_names(tmp_path: Path) -> None:
    drop(tmp_path, "new.csv", b"1", T0 + 9)
    drop(tmp_path, "OLD.CSV", b"2", T0)
    drop(tmp_path, "notes.txt", b"3")
    drop(tmp_path, "half.csv.part", b"4")
    (tmp_path / "folder.csv").mkdir()
    assert names(FolderConfig(path=tmp_path)) == ["OLD.CSV", "new.csv"]


def test_unchanged_file_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    config = FolderConfig(path=tmp_path)
    path = drop(tmp_path, "a.csv", b"one")
    drop(tmp_path, "b.csv", b"two", T0 + 1)
    *_, last = FolderConnector(clock=lambda: T0 + 100).read(config, None)
    state = json.loads(json.dumps(last.state))
    assert set(state["files"]) == {"a.csv", "b.csv"}
    assert set(state["files"]["a.csv"]) == {"size", "mtime_ns", "sha256"}
    assert names(config, state) == []
    os.utime(path, (T0 + 50, T0 + 50))  # touched, same content
    assert names(config, state) == []
    drop(tmp_path, "a.csv", b"ONE", T0 + 51)  # same size, other content
    assert names(config, state) == ["a.csv"]


def test_file_that_is_gone_leaves_the_state(tmp_path: Path) -> None:
    config = FolderConfig(path=tmp_path)
    drop(tmp_path, "a.csv", b"one")
    (first,) = FolderConnector(clock=lambda: T0 + 100).read(config, None)
    (tmp_path / "a.csv").unlink()
    drop(tmp_path, "b.csv", b"two")
    (second,) = FolderConnector(clock=lambda: T0 + 100).read(config, first.state)
    assert set(second.state["files"]) == {"b.csv"}


def test_young_file_waits(tmp_path: Path) -> None:
    config = FolderConfig(path=tmp_path, min_age_s=10)
    drop(tmp_path, "a.csv", b"one", T0)
    assert names(config, now=T0 + 9) == []
    assert names(config, now=T0 + 10) == ["a.csv"]
    (info,) = FolderConnector(clock=lambda: T0 + 9).discover(config)
    assert info.problem is not None
    assert "not ready" in info.problem


def test_marker_releases_its_file_and_is_not_read_itself(tmp_path: Path) -> None:
    config = FolderConfig(path=tmp_path, done_suffix=".done", patterns=("*",))
    drop(tmp_path, "a.csv", b"one")
    drop(tmp_path, "b.csv", b"two")
    drop(tmp_path, "b.csv.done", b"")
    assert names(config) == ["b.csv"]


def test_file_that_grows_while_read_is_left_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop(tmp_path, "a.csv", b"one")
    real_open = os.open

    def grow_then_open(target: Path, flags: int) -> int:
        if Path(target) == path:
            drop(tmp_path, "a.csv", b"one and more", T0 + 1)
        return real_open(target, flags)

    monkeypatch.setattr("fmrp_folder.connector.os.open", grow_then_open)
    assert names(FolderConfig(path=tmp_path)) == []


def test_links_leaving_the_folder_are_refused_on_record(tmp_path: Path) -> None:
    secret = drop(tmp_path, "secret.csv", b"not yours")
    folder = tmp_path / "drop"
    drop(folder, "inside.csv", b"fine")
    (folder / "out.csv").symlink_to(secret)
    (folder / "dangling.csv").symlink_to(tmp_path / "nothing")
    (folder / "within.csv").symlink_to(folder / "inside.csv")
    config = FolderConfig(path=folder, min_age_s=0)
    problems = {info.name: info.problem for info in FolderConnector().discover(config)}
    assert problems == {
        "inside.csv": None,
        "within.csv": None,
        "out.csv": "is a symbolic link that leaves the folder",
        "dangling.csv": "is a symbolic link to nothing",
    }
    batches = {batch.content.name: batch for batch in FolderConnector(clock=lambda: 9e9).read(config, None)}
    assert asyncio.run(batches["within.csv"].content.read()) == b"fine"
    with pytest.raises(SkippableError, match=r"out\.csv: is a symbolic link that leaves the folder"):
        asyncio.run(batches["out.csv"].content.read())
    assert list(FolderConnector(clock=lambda: 9e9).read(config, list(batches.values())[-1].state)) == []


def test_pipe_and_too_large_file_are_refused_without_being_opened(tmp_path: Path) -> None:
    drop(tmp_path, "big.csv", b"x" * 11)
    os.mkfifo(tmp_path / "pipe.csv")
    config = FolderConfig(path=tmp_path, max_file_bytes=10, min_age_s=0)
    batches = {batch.content.name: batch.content for batch in FolderConnector(clock=lambda: 9e9).read(config, None)}
    with pytest.raises(SkippableError, match="has 11 bytes, the limit is 10"):
        asyncio.run(batches["big.csv"].read())
    with pytest.raises(SkippableError, match="not a regular file"):
        asyncio.run(batches["pipe.csv"].read())


def test_nothing_in_the_folder_is_touched(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    drop(folder, "a.csv", b"one")
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    folder.chmod(0o555)
    try:
        assert [asyncio.run(b.content.read()) for b in FolderConnector().read(FolderConfig(path=folder), None)] == [
            b"one"
        ]
    finally:
        folder.chmod(0o755)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before


def test_missing_folder_is_retriable(tmp_path: Path) -> None:
    with pytest.raises(RetriableError, match="does not exist"):
        list(FolderConnector().read(FolderConfig(path=tmp_path / "gone"), None))


@pytest.mark.parametrize(
    "state",
    [
        {"version": 2, "files": {}},
        {"version": 1},
        {"version": 1, "files": {"a": {"size": "1"}}},
        {"version": 1, "files": {"a": {"size": 1, "mtime_ns": 1, "sha256": "zz"}}},
    ],
)
def test_damaged_or_newer_state_is_fatal(tmp_path: Path, state: dict[str, object]) -> None:
    with pytest.raises(FatalError, match="state"):
        list(FolderConnector().read(FolderConfig(path=tmp_path), state))


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "relative"},
        {"patterns": ("../*.csv",)},
        {"patterns": ()},
        {"done_suffix": "done"},
        {"max_file_bytes": 0},
    ],
)
def test_config_refuses(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FolderConfig.model_validate({"path": str(tmp_path), **wrong})
