"""Where reading a mailbox goes on: by the history of its changes, or by a listing that was begun."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from fmrp_sdk import FatalError

VERSION = 1
# Of more mails that were looked at, the newest are kept. An older one would be read again only after Gmail has
# forgotten the history, and its files are recognised by their content then.
MOST_KNOWN = 5_000
MOST_TO_MARK = 5_000
MOST_UNSURE = 1_000


@dataclass(frozen=True, slots=True)
class GmailState:
    """Everything up to `history` is taken, and of what came later the mails `known`.

    `upto` is None, or while the mails are being listed, the id up to which they are taken; "" at its beginning.
    `mail`: the one at hand, if `attachments` of it are taken. `to_mark`: mails that are taken and not marked yet.
    `unsure`: mails that did not fit the query when they came, with the time of the first look (seconds since 1970).
    """

    address: str
    history: int
    upto: str | None = ""
    known: frozenset[str] = frozenset()
    mail: str = ""
    attachments: int = 0
    to_mark: tuple[str, ...] = ()
    unsure: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, state: Mapping[str, Any] | None, address: str, history: int) -> Self:
        """From what was stored; the beginning of a mailbox without it, or with that of another mailbox.

        Raises:
            FatalError: the state is of a newer version, or damaged.
        """
        if not state:
            return cls(address, history)
        found = cls.parse(state)
        return found if found.address == address else cls(address, history)

    @classmethod
    def parse(cls, state: Mapping[str, Any]) -> Self:
        """From what was stored. FatalError as for `load`."""
        if state.get("version") != VERSION:
            raise FatalError(f"the stored state has version {state.get('version')!r}, this connector reads {VERSION}")
        try:
            return cls(
                _text(state["address"]),
                int(state["history"]),
                None if state["upto"] is None else _text(state["upto"]),
                frozenset(_text(mail) for mail in state["known"]),
                _text(state["mail"]),
                int(state["attachments"]),
                tuple(_text(mail) for mail in state["to_mark"]),
                {_text(mail): int(at) for mail, at in state["unsure"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FatalError("the stored state is damaged; reset the source to read all mails again") from error

    def listing_again(self, history: int) -> "GmailState":
        """Gmail has forgotten the history: all mails are gone through, those that are known are passed over."""
        return replace(self, history=history, upto="")

    def after_attachment(self, mail: str, attachments: int) -> "GmailState":
        """So many attachments of a mail are taken, and more are to come."""
        return replace(self, mail=mail, attachments=attachments)

    def after_mail(self, mail: str, *, mark: bool = False) -> "GmailState":
        """A mail is taken whole, or will never be."""
        to_mark = (*self.to_mark, mail)[-MOST_TO_MARK:] if mark else self.to_mark
        state = replace(self, known=_newest(self.known | {mail}), to_mark=to_mark)
        return state.without_mail() if self.mail == mail else state

    def without_mail(self) -> "GmailState":
        """No mail is at hand."""
        return replace(self, mail="", attachments=0)

    def with_unsure(self, unsure: Mapping[str, int]) -> "GmailState":
        """These mails did not fit the query; of too many the latest are kept."""
        return replace(self, unsure=dict(sorted(unsure.items(), key=lambda each: each[1])[-MOST_UNSURE:]))

    def dump(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "version": VERSION,
            "address": self.address,
            "history": str(self.history),  # larger than what some readers of JSON take for a number
            "upto": self.upto,
            "known": sorted(self.known, key=age),
            "mail": self.mail,
            "attachments": self.attachments,
            "to_mark": list(self.to_mark),
            "unsure": dict(self.unsure),
        }


def age(mail: str) -> tuple[int, str]:
    """Sorts ids, the oldest first: they are numbers in hexadecimal, and grow."""
    return len(mail), mail


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given


def _newest(known: frozenset[str]) -> frozenset[str]:
    return known if len(known) <= MOST_KNOWN else frozenset(sorted(known, key=age)[-MOST_KNOWN:])
