"""Where reading a folder goes on: by UID, within a mail by attachment, and which mails are still to be marked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from fmrp_sdk import FatalError

VERSION = 1
# Mails that wait to be marked; should marking fail for so many, the oldest stay unmarked.
MOST_TO_MARK = 5_000
# Mails that are known again when the server has numbered its mails anew.
MOST_KNOWN = 1_000
_DAMAGED = "the stored state is damaged; reset the source to read all mails again"


@dataclass(frozen=True, slots=True)
class MailState:
    """All mails up to `uid` are done with. UIDs hold in one `mailbox` and as long as its `uidvalidity` stays.

    partial, attachments: of the mail with this fingerprint so many attachments are taken, and it has more.
    to_mark: UIDs of mails that are taken and, as far as we know, not marked yet.
    taken: fingerprints of the mails taken last, the latest at the end. They hold whatever the UIDs do.
    """

    mailbox: str
    uidvalidity: int
    uid: int = 0
    partial: str = ""
    attachments: int = 0
    to_mark: tuple[int, ...] = ()
    taken: tuple[str, ...] = ()

    @classmethod
    def load(cls, state: Mapping[str, Any] | None) -> Self | None:
        """From what was stored; None for the beginning.

        Raises:
            FatalError: the state is of a newer version, or damaged.
        """
        if not state:
            return None
        if state.get("version") != VERSION:
            raise FatalError(f"the stored state has version {state.get('version')!r}, this connector reads {VERSION}")
        try:
            return cls(
                _text(state["mailbox"]),
                _number(state["uidvalidity"]),
                _number(state["uid"]),
                _text(state["partial"]),
                _number(state["attachments"]),
                tuple(_number(uid) for uid in state["to_mark"]),
                tuple(_text(fingerprint) for fingerprint in state["taken"]),
            )
        except (KeyError, TypeError) as error:
            raise FatalError(_DAMAGED) from error

    def holds_in(self, mailbox: str, uidvalidity: int) -> bool:
        """Whether its UIDs mean the mails they meant."""
        return (self.mailbox, self.uidvalidity) == (mailbox, uidvalidity)

    def begun_anew(self, mailbox: str, uidvalidity: int) -> "MailState":
        """The beginning of a folder whose UIDs are others, with what is known of mails whatever their UIDs."""
        return replace(self, mailbox=mailbox, uidvalidity=uidvalidity, uid=0, to_mark=())

    def with_marks(self, to_mark: Iterable[int]) -> "MailState":
        """This state with other mails that wait to be marked."""
        return replace(self, to_mark=tuple(to_mark))

    def attachments_of(self, fingerprint: str) -> int:
        """How many attachments of this mail are taken."""
        return self.attachments if self.partial == fingerprint else 0

    def after_attachment(self, fingerprint: str) -> "MailState":
        """One attachment more of a mail that has more."""
        return replace(self, partial=fingerprint, attachments=self.attachments_of(fingerprint) + 1)

    def after_mail(self, uid: int) -> "MailState":
        """The mail is done with, without anything taken."""
        return replace(self, uid=uid)

    def after_taken(self, uid: int, fingerprint: str, *, mark: bool) -> "MailState":
        """The mail is taken whole, and to be marked or not."""
        partial, attachments = ("", 0) if self.partial == fingerprint else (self.partial, self.attachments)
        taken = (*(each for each in self.taken if each != fingerprint), fingerprint)[-MOST_KNOWN:]
        to_mark = (*self.to_mark, uid)[-MOST_TO_MARK:] if mark else self.to_mark
        return replace(self, uid=uid, partial=partial, attachments=attachments, taken=taken, to_mark=to_mark)

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "version": VERSION,
            "mailbox": self.mailbox,
            "uidvalidity": self.uidvalidity,
            "uid": self.uid,
            "partial": self.partial,
            "attachments": self.attachments,
            "to_mark": list(self.to_mark),
            "taken": list(self.taken),
        }


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"expected a number, 0 or more, not {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {value!r}")
    return value
