"""SFTP: nothing is written at the server, unless the configuration asks for it; then just what was read is marked."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from erp_sftp_server import T0, WRITES, User, drop, shared_server
from erp_sftp_source import SftpSource, names, reader

from fmrp_erp_sftp import ErpSftpConfig, ErpSftpConnector
from fmrp_erp_sftp.link import linked, linked_to_mark
from fmrp_erp_sftp.session import MarkingSession, ReadingSession, RemoteContent
from fmrp_sdk import FatalError, RetriableError
from fmrp_sdk.run import ConnectorRun
from fmrp_sdk.testing import ConnectorSuite

MOVE = {"after_reading": "move", "archive_folder": "taken"}
DELETE = {"after_reading": "delete", "allow_delete": True}


class MovingSource(SftpSource):
    """Files that are moved away once they are stored."""

    def config(self, **fields: Any) -> ErpSftpConfig:
        return super().config(**{"after_reading": "move", "archive_folder": "../archive", **fields})


class TestErpSftpThatMoves(ConnectorSuite):
    connector_class = ErpSftpConnector
    source_class = MovingSource


@pytest.fixture
def plant(tmp_path: Path) -> tuple[str, User]:
    """A user of the shared server who may write, and whose root is an empty folder."""
    return shared_server().new_user(tmp_path / "root")


def files(user: User) -> dict[str, bytes]:
    return {
        path.relative_to(user.folder).as_posix(): path.read_bytes()
        for path in user.folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def read_and_settle(config: ErpSftpConfig, state: dict[str, Any] | None = None) -> tuple[list[str], dict[str, Any]]:
    given = reader(config).read(state)
    last = given[-1].state if given else state or {}
    reader(config).settle(last)
    return names(given), last


# -- only reading --------------------------------------------------------------------------------------------------


def test_nothing_is_written_by_a_user_who_could(plant: tuple[str, User]) -> None:
    username, user = plant
    for name in ["a.csv", "b/c.csv", "b/c.csv.done"]:
        drop(user.folder, name, name.encode())
    user.cut_after = [3]
    before = {path: path.stat() for path in user.folder.rglob("*")}
    for marker in (None, ".done"):
        config = shared_server().config(username, patterns=("**/*.csv",), done_suffix=marker)
        assert reader(config).check().ok
        assert reader(config).discover()
        given = reader(config).read()
        assert names(given)
        for each in given:
            reader(config).settle(each.state)
        run = ConnectorRun(ErpSftpConnector(), config)
        run.next_batch(None).result(20)
        assert run.close(), "cut off in the middle"
    assert not [call for call in (*WRITES, "open for writing") if user.calls[call]]
    after = {path: path.stat() for path in user.folder.rglob("*")}
    looks = {path: (each.st_mtime_ns, each.st_ino, each.st_mode, each.st_size) for path, each in before.items()}
    assert {path: (each.st_mtime_ns, each.st_ino, each.st_mode, each.st_size) for path, each in after.items()} == looks


def test_the_server_would_have_told_of_any_writing(plant: tuple[str, User]) -> None:
    """What the test above relies on: each request that writes leaves its trace."""
    username, user = plant
    drop(user.folder, "a.csv", b"a")

    async def write() -> None:
        key = asyncssh.import_public_key(shared_server().keys[0].export_public_key())
        async with (
            asyncssh.connect(
                "127.0.0.1", shared_server().port, username=username, password=user.password, config=None,
                known_hosts=([key], [], []), client_keys=None, agent_path=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):  # fmt: skip
            async with sftp.open("new.csv", "w") as new:
                await new.write("content")
                await new.utime((T0, T0))
            await sftp.utime("a.csv", (T0, T0))
            await sftp.rename("a.csv", "b.csv")
            await sftp.mkdir("folder")
            await sftp.rmdir("folder")
            await sftp.symlink("b.csv", "c.csv")
            await sftp.remove("b.csv")

    asyncio.run(write())
    wanted = {"open for writing", "write", "fsetstat", "setstat", "rename", "mkdir", "rmdir", "symlink", "remove"}
    assert {call for call in (*WRITES, "open for writing") if user.calls[call]} == wanted


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


async def test_the_link_of_a_source_that_is_only_read_has_no_call_that_writes(plant: tuple[str, User]) -> None:
    config = shared_server().config(plant[0])
    async with linked(config) as link:
        session = await link.call(_itself)
        assert type(session) is ReadingSession
        assert public(type(session)) == {"real_path", "stat", "lstat", "is_there", "entries", "opened"}
        drop(plant[1].folder, "a.csv", b"a")
        async with session.opened(b"/a.csv") as content:
            assert type(content) is RemoteContent
            assert public(type(content)) == {"stat", "read"}
    assert public(MarkingSession) - public(ReadingSession) == {"rename", "remove", "make_folder"}


async def _itself(session: ReadingSession) -> ReadingSession:
    return session


async def test_a_link_that_writes_is_not_had_for_it(plant: tuple[str, User]) -> None:
    username, user = plant
    with pytest.raises(FatalError, match="nothing is written there"):
        async with linked_to_mark(shared_server().config(username)):
            pass
    async with linked_to_mark(shared_server().config(username, **MOVE)) as link:
        assert type(await link.call(_itself)) is MarkingSession
    assert not [call for call in WRITES if user.calls[call]]


# -- moving and deleting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", [None, ".done"])
@pytest.mark.parametrize("archive", ["taken", "/elsewhere/deep/taken"])
def test_what_was_stored_is_moved_with_its_marker_and_nothing_else(
    plant: tuple[str, User], marker: str | None, archive: str
) -> None:
    username, user = plant
    for name in ["a.csv", "b/c.csv", "note.txt"]:
        drop(user.folder, f"out/{name}", name.encode())
        drop(user.folder, f"out/{name}.done", b"")
    config = shared_server().config(
        username, folder="/out", patterns=("**/*.csv",), done_suffix=marker, **{**MOVE, "archive_folder": archive}
    )
    given, state = read_and_settle(config)
    assert sorted(given) == ["a.csv", "b/c.csv"]
    place = f"out/{archive}" if archive == "taken" else archive[1:]
    moved = {f"{place}/{name}": name.encode() for name in given}
    markers = {f"{place if marker else 'out'}/{name}.done": b"" for name in given}
    assert files(user) == {**moved, **markers, "out/note.txt": b"note.txt", "out/note.txt.done": b""}
    assert read_and_settle(config, state)[0] == [], "what is in the archive is not read again"
    assert read_and_settle(config)[0] == [], "not from the beginning either"


def test_deleting_needs_a_second_word_and_then_takes_the_marker_too(plant: tuple[str, User]) -> None:
    username, user = plant
    with pytest.raises(ValueError, match="allow_delete"):
        shared_server().config(username, after_reading="delete")
    drop(user.folder, "a.csv", b"a")
    drop(user.folder, "a.csv.done", b"")
    drop(user.folder, "b.csv", b"b")
    config = shared_server().config(username, done_suffix=".done", **DELETE)
    assert read_and_settle(config)[0] == ["a.csv"]
    assert files(user) == {"b.csv": b"b"}


def test_only_what_is_stored_is_marked(plant: tuple[str, User]) -> None:
    username, user = plant
    for number in range(4):
        drop(user.folder, f"{number}.csv", b"%d" % number, T0 + number)
    config = shared_server().config(username, **MOVE)
    given = reader(config).read()
    reader(config).settle(given[1].state)  # the process was killed before it stored more
    assert set(files(user)) == {"taken/0.csv", "taken/1.csv", "2.csv", "3.csv"}
    assert names(reader(config).read(given[1].state)) == ["2.csv", "3.csv"]


def test_a_newer_version_that_came_meanwhile_stays_and_is_read(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"old")
    config = shared_server().config(username, **MOVE)
    state = reader(config).read()[-1].state
    drop(user.folder, "a.csv", b"new", T0 + 60)
    reader(config).settle(state)
    assert files(user) == {"a.csv": b"new"}
    assert read_and_settle(config, state)[0] == ["a.csv"]
    assert files(user) == {"taken/a.csv": b"new"}


def test_a_newer_version_that_comes_between_look_and_move_is_moved_back(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"old")
    config = shared_server().config(username, **MOVE)
    state = reader(config).read()[-1].state
    user.on_call = lambda call: (
        drop(user.folder, "a.csv", b"new", T0 + 60) if call == "rename" and user.calls[call] == 1 else None
    )
    reader(config).settle(state)
    assert files(user) == {"a.csv": b"new"}


def test_a_touched_file_is_moved_without_being_taken_again(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"same")
    config = shared_server().config(username, **MOVE)
    state = reader(config).read()[-1].state
    drop(user.folder, "a.csv", b"same", T0 + 60)
    reader(config).settle(state)
    assert files(user) == {"a.csv": b"same"}, "it may be a new one: it has to be looked into first"
    assert read_and_settle(config, state)[0] == []
    assert files(user) == {"taken/a.csv": b"same"}


def test_nothing_in_the_archive_is_written_over(plant: tuple[str, User]) -> None:
    username, user = plant
    config = shared_server().config(username, **MOVE)
    state: dict[str, Any] | None = None
    for number, content in enumerate([b"one", b"two", b"two", b"three"]):
        drop(user.folder, "day.csv.gz", content, T0 + number)
        _, state = read_and_settle(config, state)
    archived = files(user)
    assert sorted(archived.values()) == [b"one", b"three", b"two", b"two"]
    assert archived["taken/day.csv.gz"] == b"one"
    assert all(name.startswith("taken/day.") and name.endswith(".csv.gz") for name in archived)


@pytest.mark.parametrize("call", ["mkdir", "rename", "lstat"])
def test_the_link_is_lost_while_files_are_moved(plant: tuple[str, User], call: str) -> None:
    username, user = plant
    for number in range(3):
        drop(user.folder, f"{number}.csv", b"%d" % number, T0 + number)
        drop(user.folder, f"{number}.csv.done", b"", T0 + number)
    config = shared_server().config(username, done_suffix=".done", reconnects=1, **MOVE)
    state = reader(config).read()[-1].state
    user.calls.clear()

    def cut(name: str) -> None:
        if name == call and user.calls[name] == 1:
            shared_server().cut_links()

    user.on_call = cut
    reader(config).settle(state)
    assert set(files(user)) == {f"taken/{number}.csv{end}" for number in range(3) for end in ("", ".done")}
    assert user.logins >= 3, "read, and twice to settle"


def test_a_file_that_may_not_be_moved_is_told_and_the_others_are_moved(plant: tuple[str, User]) -> None:
    username, user = plant
    for number in range(3):
        drop(user.folder, f"{number}.csv", b"%d" % number, T0 + number)
    config = shared_server().config(username, **MOVE)
    state = reader(config).read()[-1].state

    def refuse(call: str) -> None:
        if call == "rename" and user.calls[call] == 2:
            raise asyncssh.SFTPPermissionDenied("Permission denied\n" + "x" * 10_000)

    user.on_call = refuse
    with pytest.raises(RetriableError, match=r"1 file\(s\) were read but could not be moved .* 1\.csv: Perm") as raised:
        reader(config).settle(state)
    assert len(str(raised.value)) < 600
    assert "\n" not in str(raised.value)
    assert set(files(user)) == {"taken/0.csv", "1.csv", "taken/2.csv"}
    user.on_call = None
    reader(config).settle(state)
    assert set(files(user)) == {"taken/0.csv", "taken/1.csv", "taken/2.csv"}


@pytest.mark.parametrize("archive", [".", "/out", "/alias", "../out"])
def test_the_folder_is_not_its_own_archive(plant: tuple[str, User], archive: str) -> None:
    username, user = plant
    drop(user.folder, "out/a.csv", b"a")
    (user.folder / "alias").symlink_to("out")
    config = shared_server().config(username, folder="/alias", **{**MOVE, "archive_folder": archive})
    result = reader(config).check()
    assert not result.ok
    assert "archive_folder: is the folder itself" in result.message


def test_an_archive_below_the_folder_is_known_by_whatever_path_it_is_given(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "out/a.csv", b"a")
    (user.folder / "alias").symlink_to("out")
    config = shared_server().config(
        username, folder="/out", patterns=("**/*.csv",), **{**MOVE, "archive_folder": "/alias/taken"}
    )
    for _ in range(3):
        read_and_settle(config)
    assert files(user) == {"out/taken/a.csv": b"a"}


def test_a_link_is_never_moved_nor_what_it_leads_to(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "store/real.csv", b"real")
    (user.folder / "link.csv").symlink_to("store/real.csv")
    config = shared_server().config(username, **MOVE)
    assert read_and_settle(config)[0] == ["link.csv"]
    assert stat.S_ISLNK(os.lstat(user.folder / "link.csv").st_mode)
    assert files(user) == {"store/real.csv": b"real"}


def test_the_state_does_not_grow_with_the_files_that_are_moved_while_others_are_read(
    plant: tuple[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmrp_erp_sftp.connector._UNSETTLED", 10)
    username, user = plant
    for number in range(60):
        drop(user.folder, f"{number:03}.csv", b"%d" % number, T0 + number)
    config = shared_server().config(username, **MOVE)
    sizes: list[int] = []
    run = ConnectorRun(ErpSftpConnector(), config)
    while (batch := run.next_batch(None).result(20)) is not None:
        sizes.append(len(batch.state["files"]))
        if len(sizes) % 10 == 0:
            reader(config).settle(batch.state)
    assert run.close()
    assert len(sizes) == 60
    assert max(sizes) <= 20
    assert set(files(user)) == {f"taken/{number:03}.csv" for number in range(60)}
