"""The folder of a configuration: its mails by UID, and marks on them where the configuration asks for marks."""

import hashlib
import imaplib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

from imap_tools import MailBoxFolderManager
from imap_tools.errors import ImapToolsError
from imap_tools.utils import encode_folder

from fmrp_imap.client import ReadingClient
from fmrp_imap.config import ImapConfig
from fmrp_imap.login import logged_in, passes_by_itself, said
from fmrp_imap.mail import Overview, received_at
from fmrp_sdk import FatalError, RetriableError, SkippableError

_UID = re.compile(r"\bUID (\d+)")
_SIZE = re.compile(r"\bRFC822\.SIZE (\d+)")
_RECEIVED = re.compile(r'\bINTERNALDATE "([^"]*)"')
# Of sender and subject no more than real ones have: some mails of one answer may have megabytes.
_OVERVIEW = "(UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]<0.8192>)"
_FLAGS = {"seen": r"\Seen", "flag": r"\Flagged"}
_UNMARKED = {"seen": "UNSEEN", "flag": "UNFLAGGED"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# UIDs named in one command: servers limit the length of a line.
_AT_ONCE = 200
_FOLDERS_NAMED = 30


class Mailbox:
    """The folder, opened for reading."""

    def __init__(self, client: ReadingClient, config: ImapConfig) -> None:
        self._client = client
        self._config = config
        self._where = f"{config.host}:{config.port}"
        self.uidvalidity = self._open(config.folder)

    @property
    def name(self) -> str:
        """Tells this folder of this user from others, whose UIDs may look the same."""
        text = "\0".join((self._config.host.lower(), self._config.user, self._config.folder))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def uids_after(self, uid: int) -> list[int]:
        """Mails after a UID and since the day asked for, oldest first."""
        criteria = [f"UID {uid + 1}:*"]
        if self._config.since is not None:
            criteria.append(f"SINCE {_day(self._config.since)}")
        # `n:*` is the last mail at least, whatever n is.
        return sorted({found for found in self._search(criteria) if found > uid})

    def overviews(self, uids: Sequence[int]) -> Iterator[tuple[int, Overview | None]]:
        """Each of these mails; None for one that is gone."""
        for chunk in _chunks(uids):
            found = {}
            for told, content in _messages(self._fetch(chunk, _OVERVIEW)):
                uid, size, received = (pattern.search(told) for pattern in (_UID, _SIZE, _RECEIVED))
                if uid is not None and size is not None:
                    at = received_at(received[1] if received else "")
                    found[int(uid[1])] = Overview(int(uid[1]), int(size[1]), at, content)
            yield from ((uid, found.get(uid)) for uid in chunk)

    def message(self, uid: int) -> bytes | None:
        """A mail whole, without marking it seen; None when it is gone.

        Raises:
            SkippableError: it is larger than is taken, or the server does not give it out.
        """
        most = self._config.max_mail_bytes
        kind, answers = self._client.uid("FETCH", str(uid), f"(UID BODY.PEEK[]<0.{most + 1}>)")
        if kind != "OK":
            reason = said(answers)
            if passes_by_itself(reason):
                raise RetriableError(f"{self._where} does not give out mail {uid} for now {reason}")
            raise SkippableError(f"the server does not give it out {reason}".rstrip())
        for told, content in _messages(answers):
            if (found := _UID.search(told)) and int(found[1]) == uid and "BODY[]" in told.upper():
                if len(content) > most:
                    raise SkippableError(f"has more than {most:,} bytes, the limit")
                return content
        return None

    def unmarked(self, uids: Sequence[int]) -> list[int]:
        """Those of these mails that are there and not marked as the configuration asks."""
        there: set[int] = set()
        for chunk in _chunks(uids):
            marks = _UNMARKED.get(self._config.when_done)
            there.update(self._search([f"UID {_set_of(chunk)}", *([marks] if marks else [])]))
        return [uid for uid in uids if uid in there]

    def mark(self, uids: Sequence[int]) -> None:
        """Mark or move mails as the configuration asks; only on a link that may.

        Raises:
            FatalError: the server refuses.
        """
        if not uids:
            return
        if self._open(self._config.folder, "SELECT") != self.uidvalidity:
            return  # made anew this moment: these UIDs mean nothing any more
        for chunk in _chunks(uids):
            if self._config.when_done == "move":
                self._move(_set_of(chunk))
            else:
                self._must("STORE", _set_of(chunk), "+FLAGS.SILENT", f"({_FLAGS[self._config.when_done]})")

    def check_marking(self) -> None:
        """FatalError: the server cannot do what the configuration asks to have done to mails."""
        if self._config.move_to is None:
            return
        if not self._can_move:
            raise FatalError(f"{self._where} can neither MOVE nor UIDPLUS: choose when_done = seen, flag or leave")
        self._open(self._config.move_to)

    @property
    def _can_move(self) -> bool:
        return bool({"MOVE", "UIDPLUS"} & set(self._client.capabilities))

    def _move(self, uids: str) -> None:
        target = encode_folder(str(self._config.move_to))
        if "MOVE" in self._client.capabilities:
            self._must("MOVE", uids, target)
        elif self._can_move:
            self._must("COPY", uids, target)
            self._must("STORE", uids, "+FLAGS.SILENT", r"(\Deleted)")
            # Of these alone: a plain EXPUNGE would take what others have marked as deleted.
            self._must("EXPUNGE", uids)
        else:
            self.check_marking()

    def _must(self, command: str, *args: Any) -> None:
        kind, answers = self._client.uid(command, *args)
        if kind == "OK":
            return
        reason = said(answers)
        if passes_by_itself(reason):
            raise RetriableError(f"{self._where} does not mark mails for now {reason}")
        told = f"{self._where} refuses to mark mails as when_done = {self._config.when_done} asks {reason}".rstrip()
        raise FatalError(f"{told}: check the folders and {self._config.user}'s rights. {self._folders()}")

    def _open(self, folder: str, command: str = "EXAMINE") -> int:
        """Open a folder, for reading unless told otherwise; returns its UIDVALIDITY."""
        kind, answers = self._client.select(encode_folder(folder), readonly=command == "EXAMINE")  # type: ignore[arg-type]
        if kind != "OK":
            reason = said(answers)
            told = f"{self._where} does not open the folder {folder!r} {reason}".rstrip()
            if passes_by_itself(reason):
                raise RetriableError(told)
            field = "move_to" if folder == self._config.move_to else "folder"
            raise FatalError(f"{told}: check {field}. {self._folders()}")
        given = self._client.response("UIDVALIDITY")[1][0]
        if not isinstance(given, bytes) or not given.isdigit():
            raise FatalError(f"{self._where} gives its mails no UIDs, by which to read on (no UIDVALIDITY)")
        return int(given)

    def _folders(self) -> str:
        """The folders there are, as a sentence."""
        try:
            names = [each.name for each in MailBoxFolderManager(SimpleNamespace(client=self._client)).list()]
        except (imaplib.IMAP4.error, ImapToolsError, OSError, ValueError) as error:
            return f"The folders there cannot be listed ({type(error).__name__})."
        more = f" and {len(names) - _FOLDERS_NAMED} more" if len(names) > _FOLDERS_NAMED else ""
        return f"Folders there: {', '.join(sorted(names)[:_FOLDERS_NAMED])}{more}."

    def _search(self, criteria: Sequence[str]) -> list[int]:
        kind, answers = self._client.uid("SEARCH", *criteria)
        if kind != "OK":
            raise RetriableError(f"{self._where} does not search {self._config.folder!r} {said(answers)}".rstrip())
        return [int(uid) for answer in answers if isinstance(answer, bytes) for uid in answer.split() if uid.isdigit()]

    def _fetch(self, uids: Sequence[int], what: str) -> list[Any]:
        kind, answers = self._client.uid("FETCH", _set_of(uids), what)
        if kind != "OK":
            raise RetriableError(f"{self._where} does not list the mails of {self._config.folder!r} {said(answers)}")
        return answers


@contextmanager
def opened(config: ImapConfig, *, may_mark: bool = False) -> Iterator[Mailbox]:
    """The folder, on a link that can do nothing but read unless `may_mark`; closed after the block.

    Raises:
        FatalError: the server refuses the log-in or the certificate, or there is no such folder.
        RetriableError: it is not reached, or went away.
    """
    with logged_in(config, may_mark=may_mark) as client:
        yield Mailbox(client, config)


def _messages(answers: Sequence[Any]) -> Iterator[tuple[str, bytes]]:
    """What FETCH tells of each mail, and the one content it was asked for; empty where it comes as no literal.

    The library gives (line, literal) for each literal, and the line after the last one: that ends a mail.
    """
    lines: list[bytes] = []
    content = b""
    for answer in answers:
        if isinstance(answer, tuple):
            lines.append(answer[0])
            content = answer[1]
        elif isinstance(answer, bytes):
            yield b" ".join([*lines, answer]).decode("ascii", "replace"), content
            lines, content = [], b""


def _set_of(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _day(day: date) -> str:
    # Not strftime: the server knows months by their English names, whatever the language here.
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year:04d}"


def _chunks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), _AT_ONCE):
        yield uids[start : start + _AT_ONCE]
