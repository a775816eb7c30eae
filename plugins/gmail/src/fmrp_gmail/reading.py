"""One reading of a mailbox: all mails once by listing them, from then on what the history tells.

Whatever is listed or told again is recognised by its id. A mail is left out for good only for what cannot change in it.
"""

import io
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from fmrp_gmail.answers import History
from fmrp_gmail.config import NEVER_READ, GmailConfig
from fmrp_gmail.mailbox import HistoryGone, Mailbox
from fmrp_gmail.selection import Fit, Mail, fit, oldest_first, search
from fmrp_gmail.state import GmailState, age
from fmrp_sdk import Batch, FileBatch, SkippableError
from fmrp_sdk.attachments import Attachment, attachments

# While mails are listed, the state moves on after so many.
_CHUNK = 100
# Of mails that came just before the first listing, so many are looked for.
_NEWEST = 50
# Whoever reads wants to hear something from time to time.
_LONGEST_SILENCE_S = 10.0
# Gmail's search may find a mail a little later than its history tells of it.
_SURE_AFTER_S = 900


class Reading:
    """`batches` may be called once. `now` gives seconds since 1970."""

    def __init__(
        self,
        mailbox: Mailbox,
        config: GmailConfig,
        state: GmailState,
        told: GmailState | None,
        now: Callable[[], float],
    ) -> None:
        self._mailbox = mailbox
        self._config = config
        self._state = state
        self._told = told
        self._now = now
        self._carried = mailbox.labels_to_carry()
        self._spoke = time.monotonic()

    def batches(self) -> Iterator[Batch]:
        """What is new after the state, and at the end the state that holds then."""
        yield from self._rest_of_mail()
        if self._state.upto is not None:
            yield from self._listed()
        else:
            try:
                yield from self._changed()
            except HistoryGone:
                # Where it stands now, before the mails are listed: what comes meanwhile is told of next time.
                self._state = self._state.listing_again(self._mailbox.profile().history_id)
                yield from self._listed()
        yield from self._if_new()

    def _rest_of_mail(self) -> Iterator[Batch]:
        """A mail of which some attachments are taken is taken whole, even if it has been moved meanwhile."""
        if not self._state.mail:
            return
        head = self._mailbox.head(self._state.mail)
        if head is not None:
            yield from self._mail(Mail.of(head))
        self._state = self._state.without_mail()

    def _listed(self) -> Iterator[Batch]:
        found: set[str] = set()
        for page in self._mailbox.ids(search(self._config)):
            found.update(page)
            yield from self._if_long_silent()
        found.update(self._perhaps_not_found_yet(found))
        begin = age(self._state.upto or "")
        rest = sorted((mail for mail in found if age(mail) > begin), key=age)
        for start in range(0, len(rest), _CHUNK):
            chunk = rest[start : start + _CHUNK]
            yield from self._taken((yield from self._fitting(chunk)))
            self._state = replace(self._state, upto=chunk[-1])
            yield from self._if_new()
        self._state = replace(self._state, upto=None)

    def _perhaps_not_found_yet(self, found: Set[str]) -> list[str]:
        """The newest mails that the search left out: it may be late, and the history begins after them.

        Without a query they are looked at, with one they are asked for again by the next reading.
        """
        if search(self._config) is None:
            return []
        left_out = [mail for mail in next(self._mailbox.ids(None, _NEWEST), []) if mail not in found]
        if self._config.query is None:
            return left_out
        now = int(self._now())
        self._state = self._state.with_unsure({**dict.fromkeys(left_out, now), **self._state.unsure})
        return []

    def _changed(self) -> Iterator[Batch]:
        first: int | None = None
        waiting = dict(self._state.unsure)
        for page in self._mailbox.history(self._state.history):
            first = page.history_id if first is None else first
            fitting = yield from self._fitting(dict.fromkeys([*waiting, *self._candidates(page)]))
            found = yield from self._found(fitting)
            yield from self._taken([mail for mail in fitting if mail.id in found])
            # Only now: until they are taken, the state must hold them.
            kept = {mail: at for mail, at in self._state.unsure.items() if mail not in waiting}
            unsure = self._still_unsure((mail.id for mail in fitting if mail.id not in found), waiting)
            self._state = self._state.with_unsure({**kept, **unsure})
            self._state = replace(self._state, history=_after(page, self._state.history, first))
            yield from self._if_new()
            waiting = {}

    def _candidates(self, page: History) -> Iterator[str]:
        """Mails that may fit since a change. With a query any change of labels may be what it asks for."""
        for record in page.history:
            yield from (change.message.id for change in record.messages_added)
            for change in record.labels_added:
                if self._config.query is not None or change.label_ids & self._carried:
                    yield change.message.id
            for change in record.labels_removed:
                if self._config.query is not None or change.label_ids & NEVER_READ:
                    yield change.message.id

    def _fitting(self, ids: Iterable[str]) -> Generator[Batch, None, list[Mail]]:
        """Those that are new, there, and fit but for the query."""
        mails = []
        for each in ids:
            head = self._mailbox.head(each) if each not in self._state.known else None
            if head is None:
                continue
            mail = Mail.of(head)
            verdict = fit(mail, self._config, self._carried)
            if verdict is Fit.YES:
                mails.append(mail)
            elif verdict is Fit.NEVER:
                self._state = self._state.after_mail(mail.id)
            yield from self._if_long_silent()
        return mails

    def _found(self, mails: Sequence[Mail]) -> Generator[Batch, None, set[str]]:
        """Ids of those that the query finds."""
        if self._config.query is None or not mails:
            return {mail.id for mail in mails}
        found: set[str] = set()
        for page in self._mailbox.ids(search(self._config, min(mail.received for mail in mails))):
            found.update(page)
            yield from self._if_long_silent()
        return found

    def _still_unsure(self, mails: Iterable[str], waiting: Mapping[str, int]) -> dict[str, int]:
        now = int(self._now())
        looked_at = {mail: waiting.get(mail, now) for mail in mails}
        return {mail: at for mail, at in looked_at.items() if now - at < _SURE_AFTER_S}

    def _taken(self, mails: Sequence[Mail]) -> Iterator[Batch]:
        for mail in oldest_first(mails):
            yield from self._mail(mail)
            yield from self._if_long_silent()

    def _mail(self, mail: Mail) -> Iterator[Batch]:
        """The attachments of a mail that are not taken yet; one refusal for a mail that cannot be taken."""
        limit = self._config.max_mail_bytes
        try:
            if mail.size > limit:
                raise SkippableError(f"it has {mail.size:,} bytes, the limit is {limit:,}")
            content = self._mailbox.content(mail.id)
            if content is None:  # deleted meanwhile
                return
            files = attachments(content, self._config.attachments)
        except SkippableError as error:
            self._state = self._state.after_mail(mail.id)
            yield self._batch(_refused(mail, str(error), limit))
            return
        begin = self._state.attachments if self._state.mail == mail.id else 0
        for place, file in enumerate(files[begin:], begin + 1):
            if place < len(files):
                self._state = self._state.after_attachment(mail.id, place)
            else:
                self._state = self._state.after_mail(mail.id, mark=self._config.when_done == "label")
            yield self._batch(_file(mail, file, limit))
        if len(files) <= begin:
            self._state = self._state.after_mail(mail.id)

    def _batch(self, content: FileBatch | None) -> Batch:
        self._told, self._spoke = self._state, time.monotonic()
        return Batch(content, self._state.dump())

    def _if_new(self) -> Iterator[Batch]:
        if self._state != self._told:
            yield self._batch(None)

    def _if_long_silent(self) -> Iterator[Batch]:
        if time.monotonic() - self._spoke > _LONGEST_SILENCE_S:
            yield self._batch(None)


def _after(page: History, before: int, first: int) -> int:
    """The history id after a page. `first`: where the mailbox stood at the first one.

    What came between two pages is perhaps in none: then it comes after `first`. The last record of a page that is
    followed by another is told again, lest its second half be missed.
    """
    ids = sorted({record.id for record in page.history})
    if page.next_page_token is None:
        return max([before, first, *ids])
    return max([before, *ids[:-1]])


def _file(mail: Mail, file: Attachment, limit: int) -> FileBatch:
    opener = partial(io.BytesIO, file.content)
    return FileBatch(file.name, len(file.content), mail.received, limit, opener, mail.origin)


def _refused(mail: Mail, why: str, limit: int) -> FileBatch:
    told = f"mail {mail.subject!r} of {mail.sender}, received {mail.received:%Y-%m-%d %H:%M} UTC: {why}"
    return FileBatch(f"mail {mail.id}", mail.size, mail.received, limit, partial(_refuse, told), mail.origin)


def _refuse(message: str) -> BinaryIO:
    raise SkippableError(message)
