"""SFTP: conformance, and what is its own: the walk, links, names, whether a file is ready, what is read again."""

import os
import time
from pathlib import Path

import pytest
from erp_sftp_server import T0, User, drop, shared_server
from erp_sftp_source import SftpSource, names, reader

from fmrp_erp_sftp import ErpSftpConfig, ErpSftpConnector
from fmrp_sdk import FatalError, FileInfo, RetriableError, SkippableError
from fmrp_sdk.testing import ConnectorSuite


class TestErpSftp(ConnectorSuite):
    connector_class = ErpSftpConnector
    source_class = SftpSource


@pytest.fixture
def plant(tmp_path: Path) -> tuple[str, User]:
    """A user of the shared server, whose root is an empty folder."""
    return shared_server().new_user(tmp_path / "root")


def problems(config: ErpSftpConfig) -> dict[str, str | None]:
    return {offer.name: offer.problem for offer in reader(config).discover()}


# -- the walk ------------------------------------------------------------------------------------------------------


def test_several_folders_with_bounded_depth_and_each_listed_once(plant: tuple[str, User]) -> None:
    username, user = plant
    for name in ["top.csv", "A/one.CSV", "a.txt", "b/1/two.csv", "b/1/2/three.csv", "b/1/2/3/four.csv", "c/no.csv"]:
        drop(user.folder, name, b"x")
    config = shared_server().config(username, patterns=("*.csv", "a/*.csv", "b/**/*.csv"), max_depth=3)
    assert sorted(names(reader(config).read())) == ["A/one.CSV", "b/1/2/three.csv", "b/1/two.csv", "top.csv"]
    assert user.calls["scandir"] == 5, "the root, A, b, b/1 and b/1/2: neither c nor what is too deep"


def test_a_large_folder_takes_one_listing_and_no_look_at_each_file(plant: tuple[str, User]) -> None:
    username, user = plant
    user.phantoms = 10_000
    config = shared_server().config(username)
    assert len(reader(config).discover()) == 10_000
    assert user.calls["scandir"] == 1
    assert user.calls["stat"] + user.calls["lstat"] <= 4
    with pytest.raises(RetriableError, match="more than 9,999 names in /"):
        reader(shared_server().config(username, max_entries=9_999)).read()


def test_a_folder_that_may_not_be_listed_is_told_once_and_its_files_are_not_forgotten(
    plant: tuple[str, User],
) -> None:
    username, user = plant
    drop(user.folder, "open/a.csv", b"a")
    drop(user.folder, "shut/b.csv", b"b")
    config = shared_server().config(username, patterns=("*/*.csv",))
    state = reader(config).read()[-1].state
    user.locked.add("shut")
    assert problems(config) == {"open/a.csv": None, "shut/": "cannot be listed: Permission denied"}
    (told,) = reader(config).read(state)
    assert told.contents == ()
    assert told.batch.content.name == "shut/"
    assert reader(config).read(told.state) == []
    user.locked.clear()
    assert names(reader(config).read(told.state)) == [], "b.csv was read before and has not changed"


def test_links_that_leave_the_folder_are_refused_on_record(plant: tuple[str, User], tmp_path: Path) -> None:
    username, user = plant
    secret = drop(tmp_path, "secret.csv", b"not yours")
    base = user.folder / "base"
    drop(base, "inside.csv", b"fine")
    drop(user.folder, "beside.csv", b"not yours either")
    (base / "out.csv").symlink_to(secret)
    (base / "up.csv").symlink_to("../beside.csv")
    (base / "dangling.csv").symlink_to("nothing")
    (base / "within.csv").symlink_to("inside.csv")
    (base / "folder.csv").symlink_to(user.folder)
    config = shared_server().config(username, folder="base", patterns=("**/*.csv",))
    assert problems(config) == {
        "inside.csv": None,
        "within.csv": None,
        "out.csv": "is a symbolic link to nothing",  # outside what the server shows at all
        "up.csv": "is a symbolic link that leaves the folder",
        "dangling.csv": "is a symbolic link to nothing",
        "folder.csv": "is a symbolic link that leaves the folder",
    }
    given = {each.batch.content.name: each.contents for each in reader(config).read()}
    assert given["within.csv"] == (("within.csv", b"fine"),)
    assert given["up.csv"] == given["out.csv"] == given["folder.csv"] == ()


def test_a_file_that_becomes_a_link_to_elsewhere_while_it_is_read_is_not_taken(plant: tuple[str, User]) -> None:
    username, user = plant
    path = drop(user.folder, "base/a.csv", b"one")
    drop(user.folder, "other.csv", b"two")

    def swap(call: str) -> None:
        if call == "open":
            path.unlink()
            path.symlink_to("../other.csv")

    user.on_call = swap
    assert reader(shared_server().config(username, folder="base")).read() == []


def test_names_that_are_no_text_come_back_and_are_told_apart(plant: tuple[str, User]) -> None:
    username, user = plant
    wanted = {
        rb"\xe4.csv": r"\x5cxe4.csv",
        b"\xe4.csv": r"\xe4.csv",
        "ä.csv".encode(): "ä.csv",
        b"a\nb.csv": r"a\x0ab.csv",
        b"\xff/\xfe.csv": r"\xff/\xfe.csv",
    }
    for raw in wanted:
        drop(user.folder, raw, raw)
    given = reader(shared_server().config(username, patterns=("**/*.csv",))).read()
    assert {each.contents[0] for each in given} == {(text, raw) for raw, text in wanted.items()}


# -- whether a file is ready ---------------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read_is_left_for_the_next_time(plant: tuple[str, User]) -> None:
    username, user = plant
    path = drop(user.folder, "a.csv", b"one")
    user.on_call = lambda call: drop(user.folder, "a.csv", b"one and more", T0 + 1) if call == "read" else None
    config = shared_server().config(username)
    assert reader(config).read() == []
    user.on_call = None
    (given,) = reader(config).read()
    assert given.contents == (("a.csv", path.read_bytes()),)


@pytest.mark.parametrize("ahead_s", [-7_200, 0, 7_200])
def test_age_is_measured_by_the_clock_of_the_server_where_it_shows_it(plant: tuple[str, User], ahead_s: int) -> None:
    username, user = plant
    user.clock_ahead_s = ahead_s
    drop(user.folder, "old.csv", b"old", time.time() - 120)
    drop(user.folder, "young.csv", b"young", time.time() - 5)
    os.utime(user.folder, (T0, T0))
    config = shared_server().config(username, stable_s=60)
    (given,) = reader(config).read()
    assert names([given]) == ["old.csv"]
    assert given.state["ahead_s"] == pytest.approx(ahead_s, abs=2)
    # The folder was read before and is the same since, so its time says nothing: what was learnt is remembered.
    assert reader(config).read(given.state) == []


def test_a_file_dated_in_the_future_is_taken_when_it_has_long_looked_the_same(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "future.csv", b"future", time.time() + 90_000)
    config = shared_server().config(username, stable_s=60)
    (given,) = reader(config).read()
    assert given.batch.content is None, "nothing is taken, but it is stored since when the file looks as it does"
    assert set(given.state["waiting"]) == {"future.csv"}
    assert "in the future" in (problems(config)["future.csv"] or "")
    assert reader(config).read(given.state) == []
    given.state["waiting"]["future.csv"][2] -= 61
    assert names(reader(config).read(given.state)) == ["future.csv"]


def test_a_marker_releases_its_file_unless_it_is_that_of_an_earlier_one(plant: tuple[str, User]) -> None:
    username, user = plant
    now = time.time()
    drop(user.folder, "none.csv", b"1")
    drop(user.folder, "ready.csv", b"2", now)
    drop(user.folder, "ready.csv.done", b"", now)
    drop(user.folder, "again.csv", b"3", now)
    drop(user.folder, "again.csv.done", b"", now - 10)
    config = shared_server().config(username, patterns=("*",), done_suffix=".done")
    assert names(reader(config).read()) == ["ready.csv"]
    assert problems(config) == {
        "none.csv": "waits for none.csv.done, which is missing or older than it",
        "ready.csv": None,
        "again.csv": "waits for again.csv.done, which is missing or older than it",
    }


# -- what is read again, and what is not ---------------------------------------------------------------------------


def test_unchanged_files_are_not_even_opened_and_a_touched_one_is_not_given(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"one")
    drop(user.folder, "b.csv", b"two", T0 + 1)
    config = shared_server().config(username)
    state = reader(config).read()[-1].state
    user.calls.clear()
    assert reader(config).read(state) == []
    assert user.calls["open"] == 0
    drop(user.folder, "a.csv", b"one", T0 + 50)
    (touched,) = reader(config).read(state)
    assert touched.batch.content is None
    user.calls.clear()
    assert reader(config).read(touched.state) == []
    assert user.calls["open"] == 0, "it is looked into once, not each time from now on"
    drop(user.folder, "a.csv", b"ONE", T0 + 51)
    (given,) = reader(config).read(state)
    assert given.contents == (("a.csv", b"ONE"),)
    (user.folder / "b.csv").unlink()
    drop(user.folder, "c.csv", b"three")
    assert set(reader(config).read(given.state)[-1].state["files"]) == {"a.csv", "c.csv"}


def test_a_refused_file_is_told_once_and_taken_when_it_may_be_read(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "locked.csv", b"locked")
    user.locked.add("locked.csv")
    config = shared_server().config(username)
    (told,) = reader(config).read()
    with pytest.raises(SkippableError, match=r"locked\.csv: cannot be read: Permission denied"):
        told.batch.content.opener()
    assert reader(config).read(told.state) == []
    user.locked.clear()
    (given,) = reader(config).read(told.state)
    assert given.contents == (("locked.csv", b"locked"),)


# -- state and config ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        {"version": 2, "files": {}, "waiting": {}},
        {"version": 1, "files": {}},
        {"version": 1, "files": {}, "waiting": {}, "ahead_s": "0"},
        {"version": 1, "files": {"a": [1, 1]}, "waiting": {}, "ahead_s": 0},
        {"version": 1, "files": {"a": [1, 1, "zz"]}, "waiting": {}, "ahead_s": 0},
        {"version": 1, "files": {}, "waiting": {"a": [1, True, 1.5]}, "ahead_s": 0},
    ],
)
def test_damaged_or_newer_state_is_fatal(plant: tuple[str, User], state: dict[str, object]) -> None:
    with pytest.raises(FatalError, match="state"):
        reader(shared_server().config(plant[0])).read(state)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"host": "sftp://example.com"}, "host name or address alone"),
        ({"password": None}, "password or private_key"),
        ({"passphrase": "something"}, "of no use without a private_key"),
        ({"host_key": ("SHA256:short",)}, "neither a known_hosts line"),
        ({"host_key": ("host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",)}, "cut off or damaged"),
        ({"host_key": ("host ssh-dss AAAA",)}, "not supported"),
        ({"host_key": ("@cert-authority * ssh-ed25519 AAAA",)}, "not supported"),
        ({"patterns": ("../*.csv",)}, "path below the folder"),
        ({"patterns": ("orders/**",)}, "whole folders before a name"),
        ({"patterns": ("a**/*.csv",)}, "whole folders before a name"),
        ({"patterns": ("1/2/3/*.csv",), "max_depth": 2}, "lies 3 folders deep"),
        ({"done_suffix": "done"}, "start with a dot"),
        ({"after_reading": "move"}, "archive_folder"),
        ({"archive_folder": "taken"}, "archive_folder"),
        ({"after_reading": "delete"}, "allow_delete"),
        ({"folder": "C:\\outbox"}, "with / between folders"),
    ],
)
def test_config_refuses(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        shared_server().config("anybody", **wrong)
    assert "a good password" not in str(raised.value)


def test_check_says_what_would_be_taken(plant: tuple[str, User]) -> None:
    username, user = plant
    drop(user.folder, "a.csv", b"a")
    drop(user.folder, "young.csv", b"y", time.time())
    drop(user.folder, "large.csv", b"x" * 11)
    result = reader(shared_server().config(username, max_file_bytes=10)).check()
    assert result.ok
    assert "2 file(s) match" in result.message
    assert "1 of them not ready yet" in result.message
    assert "1 cannot be taken, for example: large.csv has 11 bytes, the limit is 10" in result.message
    assert all(isinstance(offer, FileInfo) for offer in reader(shared_server().config(username)).discover())
