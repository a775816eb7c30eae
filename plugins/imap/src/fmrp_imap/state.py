"""Where reading a folder goes on: by UID, within a mail by attachment, and which mails are still to be marked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from fmrp_sdk import FatalError

VERSION = 1
# Mails that wait to be marked; should marking fail for so many, the oldest stay unmarked.
MOST_TO_MARK = 5_000


@dataclass(frozen=True, slots=True)
class MailState:
    """All mails up to `uid` are taken, and `attachments` of the one after it. UIDs hold as long as `uidvalidity` does.

    `to_mark`: mails that are taken and, as far as we know, not marked yet.
    """

    uidvalidity: int
    uid: int = 0
    attachments: int = 0
    to_mark: tuple[int, ...] = ()

    @classmethod
    def load(cls, state: Mapping[str, Any] | None, uidvalidity: int) -> Self:
        """From what was stored. Nothing, or UIDs that no longer hold, is the beginning of the folder.

        Raises:
            FatalError: the state is of a newer version, or damaged.
        """
        if not state:
            return cls(uidvalidity)
        if state.get("version") != VERSION:
            raise FatalError(f"the stored state has version {state.get('version')!r}, this connector reads {VERSION}")
        try:
            found = cls(
                int(state["uidvalidity"]),
                int(state["uid"]),
                int(state["attachments"]),
                tuple(int(uid) for uid in state["to_mark"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FatalError("the stored state is damaged; reset the source to read all mails again") from error
        return found if found.uidvalidity == uidvalidity else cls(uidvalidity)

    def after_attachment(self) -> "MailState":
        """One attachment more of the mail at hand."""
        return replace(self, attachments=self.attachments + 1)

    def after_mail(self, uid: int, *, mark: bool) -> "MailState":
        """The mail at hand is taken whole."""
        to_mark = (*self.to_mark, uid)[-MOST_TO_MARK:] if mark else self.to_mark
        return replace(self, uid=uid, attachments=0, to_mark=to_mark)

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "version": VERSION,
            "uidvalidity": self.uidvalidity,
            "uid": self.uid,
            "attachments": self.attachments,
            "to_mark": list(self.to_mark),
        }
