"""What must be known of a Gmail mailbox."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fmrp_gmail.keys import KeyFile, is_safe_address
from fmrp_sdk import DATA_FILES

MIB = 1 << 20
# Mails that are not to be read, and labels that would do more to a mail than mark it.
NEVER_READ = frozenset({"SPAM", "TRASH", "DRAFT", "CHAT"})
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\"\\]*$")]


class GmailConfig(BaseModel):
    """Configuration of a Gmail mailbox. Mails are left as they are unless `when_done` says otherwise."""

    # Hidden: what is refused may be a key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    credentials: SecretStr = Field(
        description="The key file (JSON) of a service account, or of a user's consent with its refresh_token."
    )
    user: str | None = Field(
        default=None,
        max_length=320,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="Address of the mailbox. Needed with a service account, which reads it in its owner's name.",
    )
    labels: tuple[_Text, ...] = Field(
        default=("INBOX",), max_length=20, description="Labels that a mail must carry, all of them. Empty: all mail."
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="A search as in Gmail's search box that a mail must also fit, for example has:attachment.",
    )
    senders: tuple[_Text, ...] = Field(
        default=(),
        max_length=100,
        description="Whose mails are taken: orders@supplier.example, @supplier.example for all of a domain, * and ? as "
        "wildcards; any of them. Empty: everybody's.",
    )
    subject: _Text | None = Field(default=None, description="Text that the subject must contain, whatever the case.")
    since: date | None = Field(default=None, description="Mails received before this day (UTC) are not looked at.")
    attachments: tuple[str, ...] = Field(
        default=DATA_FILES, min_length=1, description="Names of attachments to take, with * and ? as wildcards."
    )
    when_done: Literal["leave", "label"] = Field(
        default="leave", description="What is done to a mail whose attachments were taken."
    )
    done_label: _Text | None = Field(
        default=None, description="Label that is given for when_done = label; made if it is not there."
    )
    remove_labels: tuple[_Text, ...] = Field(
        default=(), max_length=20, description="Labels taken away for when_done = label, such as INBOX or UNREAD."
    )
    max_mail_bytes: int = Field(default=64 * MIB, gt=0, le=256 * MIB, description="Largest mail taken, in bytes.")
    timeout_s: float = Field(default=30.0, gt=0, le=300, description="Longest wait for one answer, in seconds.")
    api_url: str = Field(
        default="https://gmail.googleapis.com",
        max_length=500,
        description="Where Gmail's API is; another address only for a gateway in between.",
    )
    ca_certificate: str | None = Field(
        default=None, description="Certificate (PEM) of the authority of a gateway's; empty for the usual ones."
    )

    @property
    def key(self) -> KeyFile:
        """The credentials, read."""
        return KeyFile.parse(self.credentials.get_secret_value())

    @field_validator("credentials")
    @classmethod
    def _readable(cls, credentials: SecretStr) -> SecretStr:
        KeyFile.parse(credentials.get_secret_value())
        return credentials

    @field_validator("attachments")
    @classmethod
    def _names_only(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern or "/" in pattern:
                raise ValueError(f"{pattern!r} must be a name without folders, for example '*.csv'")
        return patterns

    @field_validator("senders")
    @classmethod
    def _addresses(cls, senders: tuple[str, ...]) -> tuple[str, ...]:
        for sender in senders:
            if ("@" not in sender and "*" not in sender) or any(character in sender for character in " (){}[]"):
                raise ValueError(f"{sender!r} must be an address, @domain, or hold * as a wildcard")
        return senders

    @field_validator("labels")
    @classmethod
    def _may_be_read(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if never := NEVER_READ.intersection(labels):
            raise ValueError(f"mails in {', '.join(sorted(never))} are not read")
        return labels

    @field_validator("api_url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        if not is_safe_address(url):
            raise ValueError("must begin with https://; http:// is taken on this machine only")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.key.is_service_account and self.user is None:
            raise ValueError("user: a service account needs the address of the mailbox it is to read")
        marks = self.done_label is not None or bool(self.remove_labels)
        if (self.when_done == "label") != marks:
            raise ValueError("when_done = label goes with done_label or remove_labels, and they with it")
        if self.done_label in (*NEVER_READ, "SENT", "INBOX", "UNREAD") or self.done_label in self.remove_labels:
            raise ValueError(f"done_label: {self.done_label!r} cannot be given; choose a label of your own")
        return self
