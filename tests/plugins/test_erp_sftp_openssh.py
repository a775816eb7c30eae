"""SFTP against OpenSSH's own server, as most partners run it: conformance, what it logs, and killing it.

Skipped where there is no sshd (Debian: apt install openssh-server), or where it cannot be started.
"""

import atexit
import getpass
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from erp_sftp_server import T0, drop
from erp_sftp_source import Keeper, SftpSource, names, reader
from pydantic import BaseModel

from fmrp_erp_sftp import ErpSftpConfig, ErpSftpConnector
from fmrp_sdk.testing import ConnectorSuite

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SFTP_SERVER = next(
    (path for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server") if Path(path).exists()), ""
)
PRIVATE_RUN = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
WRITES = re.compile(r"\bWRITE\b|rename|remove|mkdir|rmdir|symlink|hardlink|\bf?set\b|written [1-9]")

pytestmark = pytest.mark.skipif(
    not Path(SSHD).exists() or not SFTP_SERVER, reason="no OpenSSH server here (Debian: apt install openssh-server)"
)


class Sshd:
    """An sshd on a free port, for the user who runs the tests, with a key for the host and one for the log-in."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        """`log` is told of every request."""
        folder.mkdir(parents=True)
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self._said = folder / "sshd.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        _secret_file(folder / "host_key", self.host_key.export_private_key())
        _secret_file(folder / "authorized_keys", self.user_key.export_public_key())
        self._config = folder / "sshd_config"
        lines = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": folder / "authorized_keys",
            "PidFile": "none",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",
            "Subsystem": "sftp internal-sftp" if log is None else f"sftp {SFTP_SERVER} -e -l VERBOSE 2>>{log}",
        }
        self._config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self.start()

    def start(self) -> None:
        """Take connections (again). Skips the test where sshd does not start."""
        command = [SSHD, "-D", "-e", "-f", str(self._config)]
        if os.geteuid() == 0 and not Path("/run/sshd").exists():
            command = ["unshare", "--mount", "sh", "-c", PRIVATE_RUN, "sh", *command]  # it wants that folder, as root
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(command, stderr=said, stdout=said, start_new_session=True)
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"sshd does not start here: {self._said.read_text(errors='replace')[-300:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it and all its sessions at once, as a machine does that loses its power."""
        for process in _descendants(self._process.pid):
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(process, signal.SIGKILL)
        self._process.wait(10)

    def config(self, outbox: Path, **fields: Any) -> ErpSftpConfig:
        """A config that reaches a folder here."""
        given = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": getpass.getuser(),
            "private_key": self.user_key.export_private_key().decode(),
            "host_key": (self.host_key.get_fingerprint(),),
            "folder": str(outbox),
            "connect_timeout_s": 10,
            "operation_timeout_s": 10,
        }
        return ErpSftpConfig.model_validate({**given, **fields})

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def _secret_file(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _descendants(root: int) -> list[int]:
    """A process and all below it, however they grouped themselves: sshd's sessions leave its group."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


@cache
def shared_sshd() -> Sshd:
    """The server that the tests of this process share; it ends with the process."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Sshd(folder / "etc")
    atexit.register(server.kill)
    return server


class OpenSshSource(SftpSource):
    """The same files as elsewhere, behind sshd."""

    def config(self, **fields: Any) -> ErpSftpConfig:
        given = {"patterns": ("*.csv", "orders/*.csv", "stock/**/*.xlsx"), "max_file_bytes": 1_000}
        return shared_sshd().config(self.drop, **{**given, **fields})

    def bad_configs(self) -> list[BaseModel]:
        stranger = asyncssh.generate_private_key("ssh-ed25519")
        return [
            self.config(private_key=stranger.export_private_key().decode()),
            self.config(port=1),
            self.config(host_key=(stranger.get_fingerprint(),)),
            self.config(folder="/missing"),
        ]


class TestErpSftpWithOpenSsh(ConnectorSuite):
    connector_class = ErpSftpConnector
    source_class = OpenSshSource


def test_its_log_tells_of_no_writing_until_archiving_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "sftp.log"
    log.touch()
    server = Sshd(tmp_path / "etc", log)
    for name in ["a.csv", "b/c.csv", "b/c.csv.done"]:
        drop(tmp_path / "out", name, name.encode())

    def read_and_settle(**fields: Any) -> str:
        config = server.config(tmp_path / "out", patterns=("**/*.csv",), **fields)
        before = len(log.read_text())
        assert reader(config).check().ok
        assert reader(config).discover()
        given = reader(config).read()
        assert names(given)
        reader(config).settle(given[-1].state)
        return log.read_text()[before:]

    try:
        for only_read in ({}, {"done_suffix": ".done"}):
            said = read_and_settle(**only_read)
            assert f'open "{tmp_path}/out/b/c.csv" flags READ mode' in said
            assert not [line for line in said.splitlines() if WRITES.search(line)]
        said = read_and_settle(after_reading="move", archive_folder="taken")
        assert {found[0] for found in WRITES.finditer(said)} == {"mkdir", "rename"}
    finally:
        server.kill()


@pytest.mark.parametrize("after_reading", ["leave", "move"])
def test_server_killed_at_random_moments_then_all_is_there_once(tmp_path: Path, after_reading: str) -> None:
    seed = int(os.environ.get("FMRP_KILL_SEED", random.randint(0, 999_999)))
    print(f"FMRP_KILL_SEED={seed}")  # shown when it fails
    chance = random.Random(seed)
    out = tmp_path / "out"
    moving = {"after_reading": "move", "archive_folder": "taken"} if after_reading == "move" else {}
    server = Sshd(tmp_path / "etc")
    keeper = Keeper(server.config(out, reconnects=0, **moving))
    wanted: dict[str, bytes] = {}
    deaths = 0
    try:
        for _ in range(20 if os.environ.get("FMRP_FAULTS") == "full" else 2):
            for _ in range(chance.randint(1, 3)):
                name = f"{len(wanted):03}.csv"
                wanted[name] = chance.randbytes(8 << 20)
                drop(out, name, wanted[name], T0 + len(wanted))
            killer = threading.Timer(chance.uniform(0, 0.3), server.kill)
            killer.start()
            deaths += not keeper.read()
            killer.join()
            server.start()
            assert keeper.read()
            assert keeper.found == list(wanted.items())
    finally:
        server.kill()
    print(f"{deaths} readings were cut off")
    left = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.csv")}
    assert left == {f"taken/{name}" if moving else name: content for name, content in wanted.items()}
