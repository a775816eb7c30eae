"""A local server: what a reader of mails needs of Gmail's REST API, and Google's token endpoint."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gmail_mailbox import GmailMailbox, Refused
from google.auth import jwt

READONLY = "https://www.googleapis.com/auth/gmail.readonly"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"
# Whoever an assertion is sent to, Google signs it for this one.
AUDIENCE = "https://oauth2.googleapis.com/token"
ACCOUNT = "reader@project.iam.gserviceaccount.example"


@cache
def key_pair() -> tuple[str, str]:
    """Private and public key of the service account, in PEM."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@dataclass(frozen=True)
class Failure:
    """What is answered in place of an answer. `cut`: half of it, then the end of the connection; `trickle`: a byte now
    and then.
    """

    status: int = 0
    reason: str = "backendError"
    retry_after: str | None = None
    cut: bool = False
    trickle: bool = False
    body: bytes | None = None


@dataclass
class GmailServer:
    """`die_at`: the number of the request (of the API, from 1) in the middle of whose answer the server dies."""

    mailbox: GmailMailbox = field(default_factory=GmailMailbox)
    delegated: set[str] = field(default_factory=lambda: {READONLY, MODIFY})
    consents: dict[str, set[str]] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: deque[Failure] = field(default_factory=deque)
    token_failures: deque[Failure] = field(default_factory=deque)
    die_at: int | None = None
    certificate: Path | None = None
    _port: int = 0
    _server: Any = None

    def start(self) -> None:
        """Serve, on the same port as before."""
        server = _Server(("127.0.0.1", self._port), _Handler)
        server.gmail = self
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self._port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), name="gmail-server", daemon=True).start()

    def stop(self) -> None:
        """Die: connections end where they are."""
        server, self._server = self._server, None
        if server is not None:
            server.kill()

    @property
    def url(self) -> str:
        """Base of the API's addresses."""
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self._port}"

    def account_key(self, **changes: str) -> str:
        """Key file of the service account."""
        return json.dumps(
            {
                "type": "service_account",
                "client_id": "1234567890",
                "client_email": ACCOUNT,
                "private_key": key_pair()[0],
                "token_uri": f"{self.url}/token",
                **changes,
            }
        )

    def user_key(self, *scopes: str, **changes: str) -> str:
        """Key file of a user's consent to scopes."""
        token = f"refresh-{secrets.token_hex(12)}"
        self.consents[token] = {*scopes}
        return json.dumps(
            {
                "type": "authorized_user",
                "client_id": "app.example",
                "client_secret": "client-secret-of-the-app",
                "refresh_token": token,
                "token_uri": f"{self.url}/token",
                **changes,
            }
        )

    def written(self) -> list[tuple[str, str]]:
        """Requests that were not reading."""
        return [each for each in self.requests if each[0] != "GET"]

    # -- what is answered ---------------------------------------------------------------------------------------------

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """The token endpoint (RFC 6749, RFC 7523). Refused: an error of it."""
        if form.get("grant_type", "").endswith("jwt-bearer"):
            granted = self._of_account(form["assertion"])
        else:
            consent = self.consents.get(form.get("refresh_token", ""))
            if consent is None:
                raise Refused(400, "invalid_grant")
            granted = {*form["scope"].split()} if form.get("scope") else consent
            if not granted <= consent:
                raise Refused(400, "invalid_scope")
        token = f"access-{secrets.token_hex(12)}"
        self.tokens[token] = granted
        return {"access_token": token, "expires_in": 3_600, "token_type": "Bearer", "scope": " ".join(sorted(granted))}

    def _of_account(self, assertion: str) -> set[str]:
        try:
            claims = jwt.decode(assertion, certs=key_pair()[1], audience=AUDIENCE)
        except ValueError:
            raise Refused(400, "invalid_grant") from None
        if claims.get("iss") != ACCOUNT or claims.get("sub") != self.mailbox.address:
            raise Refused(400, "invalid_grant")
        asked = {*claims["scope"].split()}
        if not asked <= self.delegated:
            raise Refused(401, "unauthorized_client")
        return asked

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str) -> Any:
        """The API. Refused: an error of it."""
        scopes = self.tokens.get(token)
        if scopes is None:
            raise Refused(401, "authError")
        if not scopes & ({READONLY, MODIFY} if method == "GET" else {MODIFY}):
            raise Refused(403, "insufficientPermissions")
        match (method, *path.removeprefix("/gmail/v1/users/me/").split("/")):
            case ("GET", "profile"):
                return {"emailAddress": self.mailbox.address, "historyId": str(self.mailbox.history_id)}
            case ("GET", "messages"):
                most, offset = _paging(query)
                return self.mailbox.list(query.get("q", [""])[0], query.get("labelIds", []), offset, most)
            case ("GET", "messages", mail):
                return self._message(mail, query.get("format", ["full"])[0])
            case ("GET", "history"):
                most, offset = _paging(query)
                return self.mailbox.changes(int(query["startHistoryId"][0]), query["historyTypes"], offset, most)
            case ("GET", "labels"):
                return {"labels": [{"id": each, "name": name} for each, name in self.mailbox.labels.items()]}
            case ("POST", "labels"):
                return self.mailbox.make_label(body["name"])
            case ("POST", "messages", "batchModify"):
                self.mailbox.modify(body["ids"], body.get("addLabelIds", []), body.get("removeLabelIds", []))
                return None
        raise Refused(404, "notFound")

    def _message(self, mail: str, form: str) -> dict[str, Any]:
        found = self.mailbox.get(mail)
        common = {
            "id": mail,
            "threadId": mail,
            "labelIds": sorted(found.labels),
            "historyId": str(found.history_id),
            "internalDate": str(found.at_ms),
            "sizeEstimate": len(found.raw),
        }
        if form == "raw":
            return common | {"raw": base64.urlsafe_b64encode(found.raw).decode().rstrip("=")}
        names = ("From", "Subject", "Message-ID")
        headers = [{"name": name, "value": str(found.head[name])} for name in names if found.head[name] is not None]
        return common | {"payload": {"mimeType": "multipart/mixed", "headers": headers}}


class _Server(ThreadingHTTPServer):
    gmail: GmailServer
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def kill(self) -> None:
        """No more connections, and the end of those that are."""
        self.shutdown()
        self.server_close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Tests look at what is logged."""

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("x-http-method-override") == "GET":
            self.path += "?" + body.decode()
            self._serve("GET", b"")
        else:
            self._serve("POST", body)

    def _serve(self, method: str, body: bytes) -> None:
        gmail = self.server.gmail
        url = urlsplit(self.path)
        if url.path == "/token":
            failure = gmail.token_failures.popleft() if gmail.token_failures else None
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            try:
                self._send(*((failure.status, {}) if failure else (200, gmail.token(form))))
            except Refused as error:
                self._send(error.status, {"error": error.reason, "error_description": f"told: {form}"})
            return
        gmail.requests.append((method, self.path))
        failure = gmail.failures.popleft() if gmail.failures else None
        if failure is not None and failure.status:
            self._send(failure.status, _error(failure.status, failure.reason), retry_after=failure.retry_after)
            return
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            answer = gmail.answer(method, url.path, parse_qs(url.query), json.loads(body or b"null"), token)
            self._send(204 if answer is None else 200, answer, failure)
        except Refused as error:
            self._send(error.status, _error(error.status, error.reason))

    def _send(
        self, status: int, answer: Any, failure: Failure | None = None, *, retry_after: str | None = None
    ) -> None:
        gmail = self.server.gmail
        content = b"" if answer is None else json.dumps(answer).encode()
        if failure is not None and failure.body is not None:
            content = failure.body
        dies = len(gmail.requests) == gmail.die_at and self.path != "/token"
        self.send_response(status)
        if retry_after is not None:
            self.send_header("retry-after", retry_after)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if dies or (failure is not None and failure.cut):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            if dies:
                gmail.stop()
        elif failure is not None and failure.trickle:
            for place in range(len(content)):
                self.wfile.write(content[place : place + 1])
                time.sleep(0.05)
        else:
            self.wfile.write(content)


def _paging(query: dict[str, list[str]]) -> tuple[int, int]:
    return int(query.get("maxResults", ["100"])[0]), int(query.get("pageToken", ["0"])[0])


def _error(status: int, reason: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": reason, "errors": [{"domain": "global", "reason": reason}]}}


def certificate_for_this_machine(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, as one file."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gmail.example")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path
