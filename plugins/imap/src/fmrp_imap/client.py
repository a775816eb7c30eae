"""The library's IMAP client, held to reading, and to answers of a bounded size."""

import imaplib
import socket
import ssl
from typing import Any

# What is asked of a server that is only read. EXAMINE opens a folder for reading, but does not do alone: Dovecot 2.3
# carries out a MOVE in such a folder, and APPEND and the like need no open folder at all.
_READING = frozenset(
    {
        "CAPABILITY",
        "STARTTLS",
        "LOGIN",
        "AUTHENTICATE",
        "EXAMINE",
        "LIST",
        "NOOP",
        "LOGOUT",
        "UID SEARCH",
        "UID FETCH",
    }
)
_MARKING = _READING | {"SELECT", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"}
_LARGEST_ANSWER = 32 << 20


class NotAllowed(Exception):
    """A command that would change the mailbox, on a link that is for reading. It was not sent."""


class AnswerTooLarge(Exception):
    """The server sends more than it was asked for, or than is taken."""


class ReadingClient(imaplib.IMAP4):
    """A link, under TLS from the start if `context` is given. `most_content`: bytes of a mail asked for, at most."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout_s: float,
        context: ssl.SSLContext | None,
        *,
        most_content: int,
        may_mark: bool = False,
    ) -> None:
        self._context = context
        self._allowed = _MARKING if may_mark else _READING
        self._most = self._left = most_content + _LARGEST_ANSWER
        super().__init__(host, port, timeout_s)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        plain: socket.socket = super()._create_socket(timeout)  # type: ignore[misc]
        return plain if self._context is None else self._context.wrap_socket(plain, server_hostname=self.host)

    def _command(self, name: str, *args: Any) -> bytes:
        command = f"UID {args[0]}" if name == "UID" and args else name
        if command not in self._allowed:
            self.literal = None
            raise NotAllowed(f"{command} was not sent: this link is for reading")
        self._left = self._most
        sent: bytes = super()._command(name, *args)  # type: ignore[misc]
        return sent

    def read(self, size: int) -> bytes:
        """Bytes of a literal. AnswerTooLarge: it tells of more than is taken; nothing of it is read."""
        self._take(size)
        return super().read(size)

    def readline(self) -> bytes:
        """A line. AnswerTooLarge: the answer has grown beyond what is taken."""
        line = super().readline()
        self._take(len(line))
        return line

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise AnswerTooLarge(f"the answer has more than {self._most:,} bytes")
