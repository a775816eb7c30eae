"""A real IMAP server (Dovecot) in a folder of its own, and mailboxes on it.

One server serves the tests of a process: each takes a user of its own, whose mailbox is empty.
"""

import atexit
import datetime
import getpass
import grp
import imaplib
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imap_neighbours import TokenEndpoint, free_port

from fmrp_imap import ImapConfig

HOST = "localhost"
PASSWORD = 'a good "password" of \\ 2026'
UMLAUTS = "Überraschung 2026"
T0 = datetime.datetime(2026, 3, 1, 6, 0, tzinfo=datetime.UTC)
DOVECOT = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
USERS = 500

_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
auth_failure_delay = 0
auth_mechanisms = plain login xoauth2
mail_location = maildir:{folder}/mail/%u
mail_fsync = never
mail_max_userip_connections = 100
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = {folder}/users
}}
userdb {{
  driver = static
  args = home={folder}/mail/%u
}}
service imap-login {{
  {chroot}
  process_min_avail = 1
  service_count = 0
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  {chroot}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{ownership}
"""


def _is_free(port: int) -> bool:
    """Whether a server could listen there: the processes of a killed one leave it one after the other."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Dovecot:
    """Started when made; `kill` ends it as a loss of power does, `start` brings it back at the same ports."""

    def __init__(self) -> None:
        if not _has_dovecot():
            pytest.skip("the tests of IMAP need Dovecot 2.3: apt-get install dovecot-imapd")
        # Not pytest's folder: the names of its sockets would be too long for the kernel.
        self.folder = Path(tempfile.mkdtemp(prefix="fmrp-imap-"))
        self.folder.chmod(0o755)
        (self.folder / "mail").mkdir(mode=0o777)
        (self.folder / "mail").chmod(0o777)
        self.tokens = TokenEndpoint()
        self.port, self.plain_port = free_port(), free_port()
        self.certificate = write_certificate(self.folder)
        self._write_config()
        self._numbers = itertools.count(1)
        self.start()

    def start(self) -> None:
        """Take connections (again)."""
        self._process = subprocess.Popen(
            [str(DOVECOT), "-F", "-c", str(self.folder / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "stderr").open("a"),
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                told = [(self.folder / name) for name in ("stderr", "log")]
                raise RuntimeError("Dovecot does not start: " + " ".join(p.read_text() for p in told if p.exists()))
            time.sleep(0.02)

    def kill(self) -> None:
        """Every process of it, at once; returns once its ports are free again."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 20
        while not all(_is_free(port) for port in (self.port, self.plain_port)):
            if time.monotonic() > deadline:
                raise RuntimeError("a killed Dovecot keeps its ports")
            time.sleep(0.02)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self.tokens.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_mailbox(self, password: str = PASSWORD) -> "Owner":
        """An empty mailbox, as its owner sees it."""
        name = f"plant{next(self._numbers)}"
        return Owner(self, f"{name}-ue" if password == UMLAUTS else name, password)

    def client(self) -> imaplib.IMAP4_SSL:
        """A link as any mail program has it."""
        context = ssl.create_default_context(cadata=self.certificate)
        return imaplib.IMAP4_SSL(HOST, self.port, ssl_context=context, timeout=10)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.plain_port), 1) as link:
                return link.recv(4) == b"* OK"
        except OSError:
            return False

    def _write_config(self) -> None:
        is_root = os.geteuid() == 0
        me, group = getpass.getuser(), grp.getgrgid(os.getegid()).gr_name
        ownership = (
            "mail_uid = 65534\nmail_gid = 65534"
            if is_root
            else f"mail_uid = {me}\nmail_gid = {group}\ndefault_internal_user = {me}\ndefault_login_user = {me}\n"
            f"default_internal_group = {group}\nservice stats {{\n  chroot =\n}}"
        )
        config = _CONFIG.format(
            folder=self.folder,
            port=self.port,
            plain_port=self.plain_port,
            ownership=ownership,
            chroot="" if is_root else "chroot =",
        )
        users = [f"plant{n}:{{PLAIN}}{PASSWORD}::::::\nplant{n}-ue:{{PLAIN}}{UMLAUTS}::::::" for n in range(1, USERS)]
        (self.folder / "dovecot.conf").write_text(config)
        (self.folder / "users").write_text("\n".join(users) + "\n")
        (self.folder / "oauth2.conf").write_text(
            f"introspection_url = {self.tokens.url}/introspect\nintrospection_mode = post\n"
            "username_attribute = username\nactive_attribute = active\nactive_value = true\n"
        )


class Owner:
    """A user with every right on a mailbox, who puts mails in and looks at what became of them."""

    def __init__(self, server: Dovecot, user: str, password: str) -> None:
        self.server = server
        self.user = user
        self._password = password
        self._link: imaplib.IMAP4_SSL | None = None

    def config(self, **fields: Any) -> ImapConfig:
        """A config that reaches this mailbox, with `fields` put over it."""
        return ImapConfig.model_validate({**self.fields(), **fields})

    def fields(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "host": HOST,
            "port": self.server.port,
            "ca_certificate": self.server.certificate,
            "user": self.user,
            "password": self._password,
            "timeout_s": 10,
        }

    @property
    def link(self) -> imaplib.IMAP4_SSL:
        """The owner's own mail program."""
        if self._link is None:
            self._link = self.server.client()
            self._link.authenticate("PLAIN", lambda _: f"\0{self.user}\0{self._password}".encode())
        return self._link

    def put(self, message: EmailMessage | bytes, folder: str = "INBOX", at: datetime.datetime = T0) -> None:
        """A mail arrives."""
        content = message if isinstance(message, bytes) else message.as_bytes()
        assert self.link.append(quoted(folder), "", at, content)[0] == "OK"

    def create(self, *folders: str) -> None:
        """Make folders."""
        for folder in folders:
            assert self.link.create(quoted(folder))[0] == "OK"

    def number_anew(self, folder: str) -> None:
        """The folder is restored from a backup: its mails are there, in their order, under other UIDs."""
        self.create("Backup")
        self.link.select(quoted(folder))
        self.link.copy("1:*", "Backup")
        self.link.unselect()
        self.link.delete(quoted(folder))
        self.create(folder)
        self.link.select("Backup")
        self.link.copy("1:*", quoted(folder))
        self.link.unselect()
        self.link.delete("Backup")

    def flags(self, folder: str = "INBOX") -> list[str]:
        """The flags of each mail, in order."""
        self.link.select(quoted(folder), readonly=True)
        _, answers = self.link.fetch("1:*", "(FLAGS)")
        self.link.unselect()
        found = [re.search(rb"FLAGS \(([^)]*)\)", line) for line in answers if line]
        return [match[1].decode() for match in found if match]

    def flag(self, uids: str, *flags: str, folder: str = "INBOX", way: str = "+FLAGS") -> None:
        """Mark mails."""
        self.link.select(quoted(folder))
        assert self.link.uid("STORE", uids, way, f"({' '.join(flags)})")[0] == "OK"
        self.link.unselect()

    def status(self, folder: str = "INBOX") -> str:
        """Number of mails, of recent and unseen ones, next UID, and how often anything was changed."""
        asked = "(MESSAGES RECENT UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"
        return str(self.link.status(quoted(folder), asked)[1][0])

    def count(self, folder: str = "INBOX") -> int:
        """Mails in a folder."""
        match = re.search(r"MESSAGES (\d+)", self.status(folder))
        return int(match[1]) if match else 0

    def remove(self, uids: str, folder: str = "INBOX") -> None:
        """Delete mails for good."""
        self.flag(uids, r"\Deleted", folder=folder)
        self.link.select(quoted(folder))
        self.link.expunge()
        self.link.unselect()

    def leave(self) -> None:
        """Close the mail program: the mails that it saw first were recent to it alone."""
        if self._link is not None:
            self._link.logout()
            self._link = None


def _has_dovecot() -> bool:
    """Whether it is there, of the version whose configuration this is."""
    if DOVECOT is None or not (Path(DOVECOT).parents[1] / "lib/dovecot/imap").exists():
        return False
    told = subprocess.run([DOVECOT, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    return told.startswith("2.3.")


@cache
def shared_server() -> Dovecot:
    """The server that the tests of this process share; it ends with the process."""
    server = Dovecot()
    atexit.register(server.close)
    return server


def quoted(folder: str) -> str:
    """As imaplib wants a folder's name."""
    return f'"{folder}"'


def write_certificate(folder: Path) -> str:
    """Key and certificate of a server, signed by itself, as key.pem and cert.pem; returns the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    certificate = made.public_bytes(encoding)
    (folder / "cert.pem").write_bytes(certificate)
    return certificate.decode()
