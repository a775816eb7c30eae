"""A real SFTP server in this process (asyncssh's own), for the tests of the SFTP connector and the kill tests.

One server, on a thread and loop of its own, serves many users: each sees a folder of theirs as the root, has its own
ways of log-in, and its own troubles.
"""

import asyncio
import itertools
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh

from fmrp_erp_sftp import ErpSftpConfig

T0 = 1_700_000_000
PASSWORD = "a good password of 2026"
WRITES = (
    "write",
    "setstat",
    "lsetstat",
    "fsetstat",
    "remove",
    "mkdir",
    "rmdir",
    "rename",
    "posix_rename",
    "symlink",
    "link",
    "lock",
    "fsync",
)


@dataclass
class User:
    """Somebody who may log in. `calls` counts what they asked of the server, `served` the bytes read by name."""

    folder: Path
    password: str | None = PASSWORD
    public_key: str | None = None
    by_dialogue: str | None = None  # the question in which the password is asked for, if not plainly
    clock_ahead_s: int = 0  # of the server's clock against ours
    locked: set[str] = field(default_factory=set)  # names of files and folders that may not be read
    phantoms: int = 0  # names that each listing tells beside the real ones
    cut_after: list[int] = field(default_factory=list)  # bytes served until the link is cut, for one link after another
    on_call: Callable[[str], None] | None = None  # hears the name of each call before it is answered
    silent_at: str | None = None  # the call that is not answered as long as it stands here
    pace_s: float = 0.0  # how long each block takes on the way, one after the other
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    logins: int = 0


class _Files(asyncssh.SFTPServer):
    """A user's folder, with what happens there on purpose."""

    def __init__(self, channel: Any, user: User) -> None:
        super().__init__(channel, chroot=os.fsencode(user.folder))
        self._user = user
        self._names: dict[Any, str] = {}
        self._left = user.cut_after.pop(0) if user.cut_after else None

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        self._note("open")
        if pflags & ~asyncssh.FXF_READ:
            self._user.calls["open for writing"] += 1
        name = Path(os.fsdecode(path)).name
        if name in self._user.locked:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        opened = super().open(path, pflags, attrs)
        self._names[opened] = name
        return opened

    async def read(self, file_obj: Any, offset: int, size: int) -> Any:
        self._note("read")
        await self._silence("read")
        if self._user.pace_s:
            async with self._user.line:
                await asyncio.sleep(self._user.pace_s)
        content = super().read(file_obj, offset, size)
        self._user.served[self._names[file_obj]] += len(content)
        if self._left is not None:
            self._left -= len(content)
            if self._left < 0:
                self.connection.abort()
                raise asyncssh.SFTPConnectionLost("cut")
        return content

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        self._note("scandir")
        await self._silence("scandir")
        if Path(os.fsdecode(path)).name in self._user.locked:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        async for entry in super().scandir(path):
            self._shift(entry.attrs)
            yield entry
        for number in range(self._user.phantoms):
            kind = stat.S_IFREG | 0o644
            attrs = asyncssh.SFTPAttrs(size=1, permissions=kind, uid=0, gid=0, atime=T0, mtime=T0 + number)
            yield asyncssh.SFTPName(b"phantom-%05d.csv" % number, attrs=attrs)
        self._note_reading(Path(os.fsdecode(self.map_path(path))))

    def _note(self, call: str) -> None:
        self._user.calls[call] += 1
        if self._user.on_call is not None:
            self._user.on_call(call)

    async def _silence(self, call: str) -> None:
        if self._user.silent_at == call:
            await asyncio.sleep(60)

    def _note_reading(self, folder: Path) -> None:
        """As Linux does where it keeps the time a folder was last read."""
        os.utime(folder, ns=(time.time_ns(), folder.stat().st_mtime_ns))

    def stat(self, path: bytes) -> Any:
        self._note("stat")
        return self._shift(asyncssh.SFTPAttrs.from_local(super().stat(path)))

    def lstat(self, path: bytes) -> Any:
        self._note("lstat")
        return self._shift(asyncssh.SFTPAttrs.from_local(super().lstat(path)))

    def fstat(self, file_obj: Any) -> Any:
        return self._shift(asyncssh.SFTPAttrs.from_local(super().fstat(file_obj)))

    def _shift(self, attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
        attrs.mtime += self._user.clock_ahead_s
        attrs.atime += self._user.clock_ahead_s
        return attrs


def _counted(name: str) -> Any:
    def method(self: _Files, *args: Any) -> Any:
        self._note(name)
        return getattr(asyncssh.SFTPServer, name)(self, *args)

    return method


for _name in WRITES:
    if _name not in vars(_Files):
        setattr(_Files, _name, _counted(_name))


class _Door(asyncssh.SSHServer):
    """Lets users in by password, key or dialogue."""

    def __init__(self, server: "SftpServer") -> None:
        self._server = server
        self._user: User | None = None

    def connection_made(self, conn: Any) -> None:
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._user = self._server.users.get(username)
        if self._user is not None:
            self._user.logins += 1
        return True

    def password_auth_supported(self) -> bool:
        return self._user is None or (self._user.password is not None and self._user.by_dialogue is None)

    def validate_password(self, username: str, password: str) -> bool:
        return self._user is not None and self._user.password == password

    def public_key_auth_supported(self) -> bool:
        return self._user is not None and self._user.public_key is not None

    def validate_public_key(self, username: str, key: Any) -> bool:
        return key == asyncssh.import_public_key(self._user.public_key)

    def kbdint_auth_supported(self) -> bool:
        return self._user is not None and self._user.by_dialogue is not None

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", [(self._user.by_dialogue, False)]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return list(responses) == [self._user.password]


class _Scripted(asyncssh.SSHServer, asyncssh.SSHServerSession):
    """Lets everybody in, and answers each request of an SFTP session as it is told."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._channel: Any = None
        self._received = b""

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        return self

    def connection_made(self, conn_or_channel: Any) -> None:
        self._channel = conn_or_channel  # the connection, and then the channel on it

    def subsystem_requested(self, subsystem: str) -> bool:
        return True

    def data_received(self, data: bytes, datatype: Any) -> None:
        self._received += data
        while (end := 4 + int.from_bytes(self._received[:4], "big")) <= len(self._received) and end > 4:
            request, self._received = self._received[4:end], self._received[end:]
            answer = self._answer(request)
            self._channel.write(len(answer).to_bytes(4, "big") + answer)


class SftpServer:
    """Started when made; `kill` cuts every link at once, `start` brings it back at the same port."""

    def __init__(self, kinds: tuple[str, ...] = ("ssh-ed25519",)) -> None:
        self.keys = [asyncssh.generate_private_key(kind) for kind in kinds]
        self.users: dict[str, User] = {}
        self.connections: set[Any] = set()
        self.port = 0
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="sftp-server", daemon=True).start()
        self.start()

    def start(self) -> None:
        """Take connections (again)."""

        async def listen() -> Any:
            return await asyncssh.listen(
                "127.0.0.1",
                self.port,
                server_host_keys=self.keys,
                server_factory=lambda: _Door(self),
                sftp_factory=lambda channel: _Files(channel, self.users[channel.get_extra_info("username")]),
                reuse_address=True,
            )

        self._listener = self._run(listen())
        self.port = self._listener.get_port()

    def listen_with(self, answer: Callable[[bytes], bytes]) -> int:
        """The port of another door, without log-in, behind which each SFTP request is answered by that."""

        async def listen() -> Any:
            return await asyncssh.listen(
                "127.0.0.1", 0, server_host_keys=self.keys, server_factory=lambda: _Scripted(answer), encoding=None
            )

        return int(self._run(listen()).get_port())

    def kill(self) -> None:
        """Go away as a machine does that loses its power."""

        async def end() -> None:
            self._listener.close()
            for connection in list(self.connections):
                connection.abort()
            await self._listener.wait_closed()

        self._run(end())

    def kill_soon(self) -> None:
        """The same, from within the server's own work."""
        self._listener.close()
        self.cut_links()

    def cut_links(self) -> None:
        """Cut every link at once, from within the server's own work; new ones are taken."""
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def new_user(self, folder: Path, **traits: Any) -> tuple[str, User]:
        """A user's name and traits; `folder` is made."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"plant{next(self._numbers)}"
        self.users[name] = User(folder, **traits)
        return name, self.users[name]

    def known_hosts_line(self, place: int = 0) -> str:
        """As ssh-keyscan prints it."""
        return f"[127.0.0.1]:{self.port} {self.keys[place].export_public_key().decode().strip()}"

    def config(self, username: str, **fields: Any) -> ErpSftpConfig:
        """A config that reaches this server, with `fields` put over it."""
        given: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": username,
            "password": PASSWORD,
            "host_key": (self.known_hosts_line(),),
            "connect_timeout_s": 10,
            "operation_timeout_s": 10,
        }
        return ErpSftpConfig.model_validate({**given, **fields})

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@cache
def shared_server() -> SftpServer:
    """The server that the tests of this process share; it ends with the process."""
    return SftpServer()


def drop(folder: Path, name: str | bytes, content: bytes, at: float = T0) -> Path:
    """A file as the ERP would leave it, changed `at` that time."""
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path
