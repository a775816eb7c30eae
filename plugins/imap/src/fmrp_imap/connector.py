"""Attachments of the mails in one folder, each once, in the order in which the mails arrived."""

import io
import logging
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, ClassVar

from pydantic import BaseModel

from fmrp_imap.config import ImapConfig
from fmrp_imap.mail import Overview, fingerprint_of, origin_of
from fmrp_imap.mailbox import Mailbox, opened
from fmrp_imap.state import MailState
from fmrp_sdk import Batch, CheckResult, ConnectorError, FileBatch, FileInfo, SkippableError, State
from fmrp_sdk.attachments import Attachment, attachments

log = logging.getLogger(__name__)

# Past so many mails without anything to take, the state moves on.
_LOOKED_AT = 50
_MOST_DISCOVERED = 200
_LONGEST_SUBJECT = 100

_Step = tuple[MailState, FileBatch | None]


class ImapConnector:
    """Reads by UID. Nothing is changed in the mailbox but by `settle`, where the configuration asks for it."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "imap"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = ImapConfig

    def check(self, config: ImapConfig) -> CheckResult:
        """Whether the folder opens, and the one that mails are moved to."""
        try:
            with opened(config) as mailbox:
                uids = mailbox.uids_after(0)
                newest = uids[-_MOST_DISCOVERED:]
                fitting = sum(mail is not None and mail.fits(config) for _, mail in mailbox.overviews(newest))
                mailbox.check_marking()
        except ConnectorError as error:
            return CheckResult(False, str(error))
        told = f"{config.user} at {config.host}: {len(uids):,} mail(s) in {config.folder}"
        if config.since is not None:
            told += f" since {config.since}"
        return CheckResult(True, f"{told}; of the newest {len(newest)}, {fitting} fit sender and subject")

    def discover(self, config: ImapConfig) -> list[FileInfo]:
        """The newest mails that fit, oldest first: what is attached is known only once they are read.

        Raises:
            RetriableError, FatalError: as `read`.
        """
        with opened(config) as mailbox:
            newest = mailbox.uids_after(0)[-_MOST_DISCOVERED:]
            return [
                FileInfo(_label(mail), mail.size, mail.received, _too_large(mail, config))
                for _, mail in mailbox.overviews(newest)
                if mail is not None and mail.fits(config)
            ]

    def read(self, config: ImapConfig, state: State | None) -> Iterator[Batch]:
        """Attachments after the state.

        Raises:
            RetriableError: the server is not reached or went away.
            FatalError: it refuses us, or the state is not ours.
        """
        found = MailState.load(state)
        with opened(config) as mailbox:
            known = _as_of_now(found, mailbox, config)
            stored = found or known
            looked_at = 0
            for uid, mail in mailbox.overviews(mailbox.uids_after(known.uid)):
                looked_at += 1
                for step, content in _steps(mailbox, config, known, uid, mail):
                    known = step
                    if content is not None or looked_at >= _LOOKED_AT:
                        stored, looked_at = known, 0
                        yield Batch(content, known.dump())
            if known != stored:
                yield Batch(None, known.dump())

    def settle(self, config: ImapConfig, state: State) -> None:
        """Mark or move the mails that were taken, as `when_done` asks; those that are marked, or gone, are left.

        Raises:
            RetriableError: the server is not reached or went away.
            FatalError: it refuses, or the state is not ours.
        """
        known = MailState.load(state)
        if config.when_done == "leave" or known is None or not known.to_mark:
            return
        with opened(config, may_mark=True) as mailbox:
            if known.holds_in(mailbox.name, mailbox.uidvalidity):
                mailbox.mark(mailbox.unmarked(known.to_mark))


def _as_of_now(found: MailState | None, mailbox: Mailbox, config: ImapConfig) -> MailState:
    """The state from which to go on, without the mails that are marked by now."""
    if found is None:
        return MailState(mailbox.name, mailbox.uidvalidity)
    if not found.holds_in(mailbox.name, mailbox.uidvalidity):
        log.warning(
            "the mails of %s at %s are numbered anew (UIDVALIDITY %d, before %d) or it is another folder: all are"
            " looked at again, the %d taken last are known again",
            config.folder,
            config.host,
            mailbox.uidvalidity,
            found.uidvalidity,
            len(found.taken),
        )
        return found.begun_anew(mailbox.name, mailbox.uidvalidity)
    to_mark = [] if config.when_done == "leave" else mailbox.unmarked(found.to_mark)
    return found.with_marks(to_mark)


def _steps(mailbox: Mailbox, config: ImapConfig, known: MailState, uid: int, mail: Overview | None) -> Iterator[_Step]:
    """The state after each attachment of a mail that was not taken before; after the mail, where there is none."""
    if mail is None or not mail.fits(config):
        yield known.after_mail(uid), None
        return
    try:
        if problem := _too_large(mail, config):
            raise SkippableError(problem)
        message = mailbox.message(uid)
        if message is None:
            yield known.after_mail(uid), None
            return
        found = _attached(message, config)
    except SkippableError as error:
        # Left unmarked, so that it is found where it was.
        yield known.after_mail(uid), _refused(mail, config, str(error))
        return
    if not found:
        yield known.after_mail(uid), None
        return
    fingerprint = fingerprint_of(message, mail, found)
    whole = partial(known.after_taken, uid, fingerprint, mark=config.when_done != "leave")
    left = [] if fingerprint in known.taken else found[known.attachments_of(fingerprint) :]
    if not left:
        yield whole(), None
        return
    origin = origin_of(message, mail, config.folder)
    del message
    for attachment in left[:-1]:
        known = known.after_attachment(fingerprint)
        yield known, _file(attachment, mail, config, origin)
    yield whole(), _file(left[-1], mail, config, origin)


def _attached(message: bytes, config: ImapConfig) -> list[Attachment]:
    """What is attached to a mail. SkippableError: it cannot be taken apart, whatever the reason."""
    try:
        return attachments(message, config.attachments)
    except ConnectorError:
        raise
    except Exception as error:
        # The standard library fails on hostile mails in ways of its own; one of them must not stop all after it.
        raise SkippableError(f"cannot be taken apart ({type(error).__name__})") from error


def _file(attachment: Attachment, mail: Overview, config: ImapConfig, origin: dict[str, str]) -> FileBatch:
    size = len(attachment.content)
    opener = partial(io.BytesIO, attachment.content)
    return FileBatch(attachment.name, size, mail.received, config.max_mail_bytes, opener, origin)


def _refused(mail: Overview, config: ImapConfig, problem: str) -> FileBatch:
    origin = origin_of(mail.headers, mail, config.folder)
    opener = partial(_refuse, f"{_label(mail)}: {problem}")
    return FileBatch(_label(mail), mail.size, mail.received, config.max_mail_bytes, opener, origin)


def _refuse(message: str) -> BinaryIO:
    raise SkippableError(message)


def _too_large(mail: Overview, config: ImapConfig) -> str | None:
    if mail.size <= config.max_mail_bytes:
        return None
    return f"has {mail.size:,} bytes, the limit is {config.max_mail_bytes:,}"


def _label(mail: Overview) -> str:
    # A slash would look like a member of an archive.
    return f"mail {mail.uid} {mail.subject[:_LONGEST_SUBJECT].replace('/', '_')}".rstrip()
