"""SFTP without a server: names, patterns, readiness and state."""

import json
import re
from fnmatch import fnmatchcase

from hypothesis import assume, given
from hypothesis import strategies as st

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.host_key import TrustedHostKeys
from fmrp_erp_sftp.listing import RemoteFile
from fmrp_erp_sftp.names import to_bytes, to_text
from fmrp_erp_sftp.patterns import Patterns
from fmrp_erp_sftp.readiness import why_it_waits
from fmrp_erp_sftp.state import Seen, SftpState

PART = st.text("aB.1", min_size=1, max_size=3)
WILD_PART = st.text("aB.*?", min_size=1, max_size=3).filter(lambda part: "**" not in part)
PATTERN = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(st.one_of(st.just("**"), WILD_PART), max_size=4),
    WILD_PART,
)


@given(st.binary(max_size=40))
def test_names_come_back_from_their_text(raw: bytes) -> None:
    text = to_text(raw)
    assert text.isprintable()
    assert to_bytes(text) == raw
    json.loads(json.dumps(text).encode())


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_no_two_names_share_a_text(one: bytes, other: bytes) -> None:
    assume(one != other)
    assert to_text(one) != to_text(other)


def reference(parts: list[str], path: list[str]) -> bool:
    """The same by trying everything."""
    if not parts or not path:
        return not parts and not path
    if parts[0] == "**":
        return reference(parts[1:], path) or (len(path) > 1 and reference(parts, path[1:]))
    return fnmatchcase(path[0].lower(), parts[0].lower()) and reference(parts[1:], path[1:])


@given(st.lists(PATTERN, min_size=1, max_size=3), st.lists(PART, min_size=1, max_size=5))
def test_a_walk_takes_what_the_patterns_say(patterns: list[str], path: list[str]) -> None:
    walk = Patterns(patterns)
    positions = walk.start()
    for folder in path[:-1]:
        positions = walk.within(positions, folder)
    wanted = any(reference(pattern.split("/"), path) for pattern in patterns)
    assert walk.takes(positions, path[-1]) == wanted
    assert positions or not wanted, "a folder is looked into wherever something could match"


def a_config(**fields: object) -> ErpSftpConfig:
    return ErpSftpConfig.model_validate({"host": "h", "username": "u", "password": "p", **fields})


TIME = st.integers(0, 4_000_000_000)


@given(mtime=TIME, now=TIME, ahead_s=st.integers(-100_000, 100_000), stable_s=st.integers(0, 86_400))
def test_a_file_is_ready_by_the_servers_clock(mtime: int, now: int, ahead_s: int, stable_s: int) -> None:
    file = RemoteFile("a", b"a", 1, mtime, False, None)
    known = SftpState({}, {}, float(ahead_s))
    waits = why_it_waits(file, a_config(stable_s=stable_s), known, float(now))
    assert (waits is None) == (now + ahead_s - mtime >= stable_s)


@given(mtime=TIME, first=TIME, later_s=st.integers(0, 100_000), grew=st.booleans())
def test_or_when_it_has_long_looked_the_same_by_ours(mtime: int, first: int, later_s: int, grew: bool) -> None:
    known = SftpState.load(None).with_waiting({"a": (1, mtime)}, float(first))
    now = float(first + later_s)
    known = known.with_waiting({"a": (2 if grew else 1, mtime)}, now)
    file = RemoteFile("a", b"a", 2 if grew else 1, mtime, False, None)
    config = a_config(stable_s=60)
    is_old = now - mtime >= 60
    assert (why_it_waits(file, config, known, now) is None) == (is_old or (not grew and later_s >= 60))


@given(
    st.dictionaries(st.text(max_size=5), st.builds(Seen, TIME, TIME, st.sampled_from(["", "0" * 64]))),
    st.dictionaries(st.text(max_size=5), st.tuples(TIME, TIME)),
)
def test_state_comes_back_from_storage(files: dict[str, Seen], waiting: dict[str, tuple[int, int]]) -> None:
    state = SftpState.load({}).with_waiting(waiting, 1.5).with_clock(-3.25)
    for name, seen in files.items():
        state = state.with_file(name, seen)
    again = SftpState.load(json.loads(json.dumps(state.dump())))
    assert again == state
    assert {name: again.seen(name) for name in files} == files
    assert again.only(lambda _: False).dump()["files"] == {}


@given(st.text(max_size=80))
def test_host_keys_are_taken_or_refused_with_a_sentence(entry: str) -> None:
    try:
        trusted = TrustedHostKeys.parse((entry,))
    except ValueError as error:
        assert re.search("known_hosts|not supported|damaged", str(error))  # noqa: PT017 - either end is right
    else:
        assert all(len(fingerprint) == 50 for fingerprint in trusted.fingerprints)
