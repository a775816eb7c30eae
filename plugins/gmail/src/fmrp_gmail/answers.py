"""Answers of the Gmail API, as far as they are used."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
_HistoryId = Annotated[int, Field(ge=0, lt=1 << 64)]
_YEAR_9999_MS = 253_370_764_800_000


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", hide_input_in_errors=True)


class Profile(_Answer):
    """users.getProfile: whose mailbox it is, and where its history stands."""

    email_address: Annotated[str, Field(max_length=320)]
    history_id: _HistoryId


class Reference(_Answer):
    """A mail by its id."""

    id: Id


class Listing(_Answer):
    """A page of users.messages.list."""

    messages: tuple[Reference, ...] = ()
    next_page_token: str | None = None


class Header(_Answer):
    """A header of a mail."""

    name: str
    value: str = ""


class Payload(_Answer):
    """The head of a mail."""

    headers: tuple[Header, ...] = ()


class Head(_Answer):
    """users.messages.get in format metadata. `internal_date`: when it was received, milliseconds since 1970."""

    id: Id
    label_ids: frozenset[str] = frozenset()
    internal_date: Annotated[int, Field(ge=0, le=_YEAR_9999_MS)]
    size_estimate: Annotated[int, Field(ge=0)] = 0
    payload: Payload = Payload()


class Raw(_Answer):
    """users.messages.get in format raw: the mail (RFC 5322) in base64url."""

    raw: str


class Change(_Answer):
    """A mail that came, or whose labels changed; `label_ids`: the labels given to it, or taken away."""

    message: Reference
    label_ids: frozenset[str] = frozenset()


class Record(_Answer):
    """A record of the history."""

    id: _HistoryId
    messages_added: tuple[Change, ...] = ()
    labels_added: tuple[Change, ...] = ()
    labels_removed: tuple[Change, ...] = ()


class History(_Answer):
    """A page of users.history.list, in chronological order. `history_id`: where the mailbox stands."""

    history: tuple[Record, ...] = ()
    history_id: _HistoryId
    next_page_token: str | None = None


class Label(_Answer):
    """A label."""

    id: Id
    name: str


class Labels(_Answer):
    """users.labels.list."""

    labels: tuple[Label, ...] = ()


class Nothing(_Answer):
    """An answer that says nothing but that it is done."""
