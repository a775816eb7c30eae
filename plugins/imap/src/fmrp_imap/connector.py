"""Attachments of the mails in one folder, each once, in the order in which the mails arrived."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser
from functools import partial
from typing import BinaryIO, ClassVar

from pydantic import BaseModel

from fmrp_imap.config import ImapConfig
from fmrp_imap.mailbox import Mailbox, opened
from fmrp_imap.state import MailState
from fmrp_sdk import (
    Batch,
    CheckResult,
    ConnectorError,
    FatalError,
    FileBatch,
    FileInfo,
    RetriableError,
    SkippableError,
    State,
)
from fmrp_sdk.attachments import Attachment, attachments, header

# Past so many mails without anything to take, the state moves on.
_LOOKED_AT = 50
_MOST_DISCOVERED = 200


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
                count = len(mailbox.uids_after(0))
            if config.move_to is not None:
                with opened(config.model_copy(update={"folder": config.move_to})):
                    pass
        except ConnectorError as error:
            return CheckResult(False, str(error))
        return CheckResult(True, f"{config.user} at {config.host}: {count:,} mails in {config.folder} fit")

    def discover(self, config: ImapConfig) -> list[FileInfo]:
        """The mails that fit, the newest at most: their attachments are known only once they are read."""
        found: list[FileInfo] = []
        with opened(config) as mailbox:
            uids = mailbox.uids_after(0)[-_MOST_DISCOVERED:]
            for uid, size in sorted(mailbox.sizes(uids).items()):
                found.append(FileInfo(f"mail {uid}", size, datetime.fromtimestamp(0, UTC), _too_large(size, config)))
        return found

    def read(self, config: ImapConfig, state: State | None) -> Iterator[Batch]:
        """Attachments after the state.

        RetriableError: the server is not reached or went away. FatalError: it refuses us, or the state is not ours.
        """
        with opened(config) as mailbox:
            known = MailState.load(state, mailbox.uidvalidity)
            if known.to_mark:
                known = MailState(
                    known.uidvalidity, known.uid, known.attachments, tuple(mailbox.unmarked(known.to_mark))
                )
            uids = mailbox.uids_after(known.uid)
            sizes = mailbox.sizes(uids)
            quiet = 0
            for place, uid in enumerate(uids):
                before = known
                for known, content in self._mail(mailbox, config, known, uid, sizes.get(uid)):  # noqa: B007, PLW2901
                    if content is not None:
                        quiet = 0
                        yield Batch(content, known.dump())
                if before.uid != known.uid and known.attachments == 0:
                    quiet += 1
                if quiet > 0 and (quiet % _LOOKED_AT == 0 or place == len(uids) - 1):
                    yield Batch(None, known.dump())
