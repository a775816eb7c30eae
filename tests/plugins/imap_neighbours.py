"""What stands beside a mail server: an endpoint that gives out access tokens, and a proxy that cuts links."""

import contextlib
import json
import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

CLIENT_SECRET = "the secret of the application"
REFRESH_TOKEN = "the token of the user's consent"


class TokenEndpoint:
    """Gives out access tokens, and tells Dovecot whose they are. `answer`: what it says instead, if anything."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.user = ""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, headers, body = endpoint.told(self.path, {k: v[0] for k, v in parse_qs(form).items()})
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="token-endpoint", daemon=True).start()

    def told(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        if path == "/introspect":
            user = self.users.get(form.get("token", ""))
            found = {"active": "true", "username": user} if user else {"active": "false"}
            return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()
        self.asked.append(form)
        if self.answer is not None:
            return self.answer
        good = form.get("refresh_token", REFRESH_TOKEN) == REFRESH_TOKEN and form["client_secret"] == CLIENT_SECRET
        if not good:
            return 401, {}, b'{"error": "invalid_client", "error_description": "who are you?"}'
        token = f"access-token-{len(self.asked)}"
        self.users[token] = self.user
        return 200, {}, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).encode()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


class CuttingProxy:
    """Stands before the server and cuts each link after so many bytes from it; None lets all through."""

    def __init__(self, port: int) -> None:
        self.cut_after: int | None = None
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name="cutting-proxy", daemon=True).start()

    def close(self) -> None:
        """Take no more links."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        try:
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._behind))
                for one, other, bound in ((near, far, None), (far, near, self.cut_after)):
                    threading.Thread(target=self._pass_on, args=(one, other, bound), daemon=True).start()
        except OSError:
            return  # closed

    def _pass_on(self, one: socket.socket, other: socket.socket, most: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while (chunk := one.recv(4096)) and (most is None or passed < most):
                other.sendall(chunk)
                passed += len(chunk)
        for link in (one, other):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """A port that nobody listens at, of those that no system gives to links: a server may come back to it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
