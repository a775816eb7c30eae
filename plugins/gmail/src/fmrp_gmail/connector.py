"""Attachments of the mails in a Gmail mailbox, each once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import ClassVar

from pydantic import BaseModel

from fmrp_gmail.config import GmailConfig
from fmrp_gmail.mailbox import opened
from fmrp_gmail.reading import Reading
from fmrp_gmail.selection import Mail, oldest_first, problem, search
from fmrp_gmail.state import GmailState
from fmrp_sdk import Batch, CheckResult, ConnectorError, FileInfo, State

_MOST_DISCOVERED = 200
_MOST_COUNTED_PAGES = 10


class GmailConnector:
    """Reads by Gmail's history. Nothing is changed in the mailbox but by `settle`, where the configuration asks."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "gmail"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = GmailConfig

    def __init__(self, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep) -> None:
        """`now` gives seconds since 1970; `sleep` waits while Gmail asks for patience."""
        self._now = now
        self._sleep = sleep

    def check(self, config: GmailConfig) -> CheckResult:
        """Whether the mailbox opens and its labels are there; says how many mails are to be looked at."""
        try:
            with opened(config, sleep=self._sleep) as mailbox:
                address = mailbox.profile().email_address
                mailbox.check_marking()
                pages = list(islice(mailbox.ids(search(config)), _MOST_COUNTED_PAGES + 1))
        except ConnectorError as error:
            return CheckResult(False, str(error))
        count = sum(map(len, pages[:_MOST_COUNTED_PAGES]))
        more = "more than " if len(pages) > _MOST_COUNTED_PAGES else ""
        return CheckResult(True, f"{address}: {more}{count:,} mails to look at for attachments")

    def discover(self, config: GmailConfig) -> list[FileInfo]:
        """The newest mails, the oldest of them first: their attachments are known only once they are read."""
        with opened(config, sleep=self._sleep) as mailbox:
            ids = next(mailbox.ids(search(config), _MOST_DISCOVERED), [])
            heads = [head for head in map(mailbox.head, ids) if head is not None]
        return [_offer(mail, config) for mail in oldest_first([Mail.of(head) for head in heads])]

    def read(self, config: GmailConfig, state: State | None) -> Iterator[Batch]:
        """Attachments after the state.

        RetriableError: Gmail is not reached, or busy. FatalError: it refuses us, or the state is not ours.
        """
        with opened(config, sleep=self._sleep) as mailbox:
            profile = mailbox.profile()
            known = GmailState.load(state, profile.email_address, profile.history_id)
            told = known if state else None
            # What was to be marked is: whoever reads has settled the state before.
            known = replace(known, to_mark=())
            yield from Reading(mailbox, config, known, told, self._now).batches()

    def settle(self, config: GmailConfig, state: State) -> None:
        """Label the mails that are taken, where the configuration asks for it."""
        if config.when_done == "leave":
            return
        known = GmailState.parse(state)
        if not known.to_mark:
            return
        with opened(config, writing=True, sleep=self._sleep) as mailbox:
            if mailbox.profile().email_address == known.address:
                mailbox.mark(known.to_mark)


def _offer(mail: Mail, config: GmailConfig) -> FileInfo:
    why = problem(mail, config)
    if why is None and mail.size > config.max_mail_bytes:
        why = f"has {mail.size:,} bytes, the limit is {config.max_mail_bytes:,}"
    return FileInfo(f"{mail.subject or 'no subject'} (mail {mail.id})", mail.size, mail.received, why)
