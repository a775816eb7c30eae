"""SFTP: a link that is lost, slow or silent or carries nonsense, and a server that is killed at random moments."""

import json
import logging
import os
import random
import stat
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from erp_sftp_server import T0, SftpServer, User, drop, shared_server
from erp_sftp_source import Keeper, names, reader

from fmrp_erp_sftp import ErpSftpConnector
from fmrp_sdk import ConnectorError, RetriableError
from fmrp_sdk.run import ConnectorRun

SIZE = 5 << 20
WINDOW = 8 << 20


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[tuple[str, User]]:
    """A user of the shared server, whose root is an empty folder."""
    username, user = shared_server().new_user(tmp_path / "root")
    yield username, user
    user.silent_at = None


@pytest.fixture
def own_server() -> Iterator[SftpServer]:
    server = SftpServer()
    yield server
    server.close()


# -- a link that is lost -------------------------------------------------------------------------------------------


def test_a_lost_link_goes_on_in_the_middle_of_the_file(
    plant: tuple[str, User], caplog: pytest.LogCaptureFixture
) -> None:
    username, user = plant
    content = os.urandom(SIZE)
    drop(user.folder, "large.csv", content)
    user.cut_after = [1 << 20, 2 << 20]
    config = shared_server().config(username, reconnects=2)
    with caplog.at_level(logging.WARNING):
        (given,) = reader(config).read()
    assert given.contents == (("large.csv", content),)
    assert user.logins == 3
    assert not caplog.records, "no task may end without somebody having looked"


def test_what_was_read_before_the_cut_is_not_read_again(plant: tuple[str, User]) -> None:
    username, user = plant
    content = os.urandom(3 * WINDOW)
    drop(user.folder, "large.csv", content)
    user.cut_after = [2 * WINDOW + (4 << 20)]
    (given,) = reader(shared_server().config(username)).read()
    assert given.contents == (("large.csv", content),)
    assert user.served["large.csv"] <= 4 * WINDOW, "at most a window twice"


def test_a_file_that_changed_while_the_link_was_lost_is_left_for_the_next_time(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "large.csv", os.urandom(SIZE))
    user.cut_after = [1 << 20]
    other = os.urandom(SIZE)

    def change(call: str) -> None:
        if call == "open" and user.calls["open"] == 2:
            drop(user.folder, "large.csv", other, T0 + 60)

    user.on_call = change
    config = shared_server().config(username)
    assert reader(config).read() == []
    (given,) = reader(config).read()
    assert given.contents == (("large.csv", other),)


def test_a_link_that_does_not_last_ends_the_reading_after_what_was_whole(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"a")
    drop(user.folder, "large.csv", os.urandom(SIZE), T0 + 1)
    config = shared_server().config(username, reconnects=1)
    user.cut_after = [100, 100]
    run = ConnectorRun(ErpSftpConnector(), config)
    try:
        first = run.next_batch(None).result(20)
        with pytest.raises(RetriableError, match=r"the link was lost and not had again in 1 attempt"):
            run.next_batch(None).result(20)
    finally:
        assert run.close()
    assert names(reader(config).read(json.loads(json.dumps(first.state)))) == ["large.csv"]


# -- silence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["scandir", "read"])
def test_a_server_that_falls_silent_in_the_middle_ends_the_reading(
    plant: tuple[str, User], caplog: pytest.LogCaptureFixture, call: str
) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"a")
    user.silent_at = call
    config = shared_server().config(username, operation_timeout_s=0.3, reconnects=1)
    with caplog.at_level(logging.WARNING), pytest.raises(RetriableError, match="no answer in time"):
        reader(config).read()
    assert user.logins == 2, "it was tried once more"
    assert not caplog.records, "no task may end without somebody having looked"


@pytest.mark.parametrize("call", ["scandir", "read"])
def test_a_reading_is_cancelled_while_the_server_is_silent(plant: tuple[str, User], call: str) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"a")
    user.silent_at = call
    run = ConnectorRun(ErpSftpConnector(), shared_server().config(username, operation_timeout_s=60))
    answer = run.next_batch(None)
    with pytest.raises(TimeoutError):
        answer.result(0.5)
    assert run.close(patience_s=5), "it waits for a server that says nothing"


def test_a_slow_line_is_no_silent_one(plant: tuple[str, User]) -> None:
    username, user = plant
    content = os.urandom(WINDOW)
    drop(user.folder, "large.csv", content)
    user.pace_s = 0.4  # each answer comes in time, but the last of a window long after it was asked for
    config = shared_server().config(username, operation_timeout_s=0.6, reconnects=0)
    (given,) = reader(config).read()
    assert given.contents == (("large.csv", content),)
    assert user.calls["read"] >= 2


# -- nonsense ------------------------------------------------------------------------------------------------------


def looks(kind: int) -> bytes:
    """Size 3, owner, kind and times of a file or folder, as SFTP puts them."""
    return struct.pack(">IQIIIII", 0xF, 3, 0, 0, kind | 0o755, T0, T0)


A_NAME = struct.pack(">II5sI", 1, 5, b"a.csv", 0)
SOUND = {
    asyncssh.FXP_STAT: (asyncssh.FXP_ATTRS, looks(stat.S_IFDIR)),
    asyncssh.FXP_LSTAT: (asyncssh.FXP_ATTRS, looks(stat.S_IFREG)),
    asyncssh.FXP_FSTAT: (asyncssh.FXP_ATTRS, looks(stat.S_IFREG)),
    asyncssh.FXP_OPENDIR: (asyncssh.FXP_HANDLE, struct.pack(">I1s", 1, b"h")),
    asyncssh.FXP_READDIR: (asyncssh.FXP_NAME, A_NAME + looks(stat.S_IFREG)),
    asyncssh.FXP_OPEN: (asyncssh.FXP_HANDLE, struct.pack(">I1s", 1, b"h")),
    asyncssh.FXP_READ: (asyncssh.FXP_DATA, struct.pack(">I3s", 3, b"abc")),
}


def sound(request: bytes) -> tuple[int, bytes]:
    """Kind and content of an answer to an SFTP request, of a server with one file whose listing has no end."""
    if request[0] == asyncssh.FXP_REALPATH:
        path = request[9:] if b"/" in request[9:] else b"/out"
        return asyncssh.FXP_NAME, struct.pack(">II", 1, len(path)) + path + bytes(8)
    return SOUND.get(request[0], (asyncssh.FXP_STATUS, bytes(12)))


def nonsense(request: bytes, chance: random.Random) -> bytes:
    """An answer to an SFTP request: mostly sound, else of any kind, with anything in it."""
    if request[0] == asyncssh.FXP_INIT:
        return struct.pack(">BI", asyncssh.FXP_VERSION, 3)
    kind, content = sound(request)
    if request[0] == asyncssh.FXP_READDIR and chance.random() < 0.5:
        kind, content = asyncssh.FXP_STATUS, struct.pack(">III", asyncssh.FX_EOF, 0, 0)
    if chance.random() < 0.1:
        kind = chance.choice([*(each for each, _ in SOUND.values()), asyncssh.FXP_STATUS, 201, 7])
    if chance.random() < 0.1:
        content = chance.choice(
            [
                b"",
                chance.randbytes(chance.randint(1, 60)),
                content[: chance.randint(0, len(content))],
                b"\xff" * 4 + content[4:],
                bytes(4) + content[4:],
                struct.pack(">III", chance.randint(0, 40), 0, 0),
            ]
        )
    return bytes([kind]) + request[1:5] + content


def test_answers_that_make_no_sense_end_the_reading_with_an_error_of_ours(own_server: SftpServer) -> None:
    seed = random.randint(0, 999_999)
    print(f"seed {seed}")  # shown when it fails
    chance = random.Random(seed)
    port = own_server.listen_with(lambda request: nonsense(request, chance))
    config = own_server.config("anybody", port=port, reconnects=0, operation_timeout_s=1, stable_s=0)
    told = Counter[str]()
    for _ in range(150):
        try:
            told["read"] += bool(reader(config).read())
        except ConnectorError as error:
            told[str(error)] += 1
    assert told["read"] > 0
    assert len(told) > 3, "it went wrong in several ways"
    assert all(len(each) < 600 for each in told)


@pytest.mark.parametrize(("name", "message"), [(b".", "names that are none"), (b"a", "more than 5,000 names")])
def test_a_listing_without_end_is_ended(own_server: SftpServer, name: bytes, message: str) -> None:
    def answer(request: bytes) -> bytes:
        if request[0] == asyncssh.FXP_INIT:
            return struct.pack(">BI", asyncssh.FXP_VERSION, 3)
        kind, content = sound(request)
        if request[0] == asyncssh.FXP_READDIR:
            content = struct.pack(">I", 100) + 100 * (struct.pack(">I1sI", 1, name, 0) + looks(stat.S_IFREG))
        return bytes([kind]) + request[1:5] + content

    config = own_server.config("anybody", port=own_server.listen_with(answer), reconnects=0, max_entries=5_000)
    with pytest.raises(RetriableError, match=message):
        reader(config).read()


# -- a server that is killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_reading", ["leave", "move"])
def test_server_killed_at_random_moments_then_all_is_there_once(
    own_server: SftpServer, tmp_path: Path, after_reading: str
) -> None:
    seed = int(os.environ.get("FMRP_KILL_SEED", random.randint(0, 999_999)))
    print(f"FMRP_KILL_SEED={seed}")  # shown when it fails
    chance = random.Random(seed)
    username, user = own_server.new_user(tmp_path / "root")
    moving = {"after_reading": "move", "archive_folder": "taken"} if after_reading == "move" else {}
    keeper = Keeper(own_server.config(username, reconnects=0, **moving))
    wanted: dict[str, bytes] = {}
    deaths, calls = 0, 40
    for _ in range(20 if os.environ.get("FMRP_FAULTS") == "full" else 5):
        for _ in range(chance.randint(1, 3)):
            name = f"{len(wanted):03}.csv"
            wanted[name] = chance.randbytes(chance.choice([0, 9, 1 << 20, 9 << 20]))
            drop(user.folder, name, wanted[name], T0 + len(wanted))
        die_at = sum(user.calls.values()) + chance.randint(1, calls)

        def kill(call: str, die_at: int = die_at) -> None:
            if sum(user.calls.values()) == die_at:
                own_server.kill_soon()

        user.on_call = kill
        was_whole = keeper.read()
        user.on_call = None
        own_server.kill()
        own_server.start()
        deaths += not was_whole
        before = sum(user.calls.values())
        assert keeper.read()
        calls = max(10, sum(user.calls.values()) - before)
        assert keeper.found == list(wanted.items())
    assert deaths > 0
    left = {path.relative_to(user.folder).as_posix(): path.read_bytes() for path in user.folder.rglob("*.csv")}
    assert left == {f"taken/{name}" if moving else name: content for name, content in wanted.items()}
