"""What must be known of an IMAP mailbox."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fmrp_sdk.attachments import PATTERNS

MIB = 1 << 20
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\"\\]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OAuth2(_Strict):
    """How an access token is fetched, in place of a password (Microsoft 365 takes nothing else)."""

    token_url: str = Field(pattern=r"^https?://", description="Where tokens are given out, an https:// address.")
    client_id: str = Field(min_length=1, description="Id of the registered application.")
    client_secret: SecretStr = Field(description="Its secret.")
    refresh_token: SecretStr | None = Field(
        default=None, description="Token of the user's consent; without one the application logs in by itself."
    )
    scope: str = Field(default="", description="Rights asked for, for example https://outlook.office365.com/.default.")


class ImapConfig(_Strict):
    """Configuration of a mailbox. Mails are left as they are unless `when_done` says otherwise."""

    host: str = Field(min_length=1, max_length=253, description="Name or address of the mail server.")
    port: int = Field(default=993, ge=1, le=65535, description="993 for TLS from the start, 143 for STARTTLS.")
    security: Literal["tls", "starttls", "none"] = Field(
        default="tls", description="none sends everything in the clear and is taken on this machine only."
    )
    ca_certificate: str | None = Field(
        default=None, description="Certificate (PEM) of the authority that signed the server's; empty for the usual ones."
    )
    user: str = Field(min_length=1, max_length=320, description="Whom to log in as, often the whole address.")
    password: SecretStr | None = Field(default=None, description="Password, or application password.")
    oauth2: OAuth2 | None = Field(default=None, description="Log in with an access token instead.")
    folder: _Text = Field(default="INBOX", description="Folder that is read.")
    senders: tuple[_Text, ...] = Field(
        default=(), description="Addresses or parts of them, such as @supplier.example; any of them. Empty: everybody."
    )
    subject: _Text | None = Field(default=None, description="Text that the subject must contain, whatever the case.")
    since: date | None = Field(default=None, description="Mails received before this day are not looked at.")
    attachments: tuple[str, ...] = Field(
        default=PATTERNS, min_length=1, description="Names of attachments to take, with * and ? as wildcards."
    )
    when_done: Literal["leave", "seen", "flag", "move"] = Field(
        default="leave", description="What is done to a mail whose attachments were taken."
    )
    move_to: _Text | None = Field(default=None, description="Folder for when_done = move; it must be there.")
    max_mail_bytes: int = Field(default=64 * MIB, gt=0, le=256 * MIB, description="Largest mail taken, in bytes.")
    timeout_s: float = Field(default=30.0, gt=0, le=300, description="Longest wait for one answer, in seconds.")

    @field_validator("attachments")
    @classmethod
    def _names_only(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern or "/" in pattern:
                raise ValueError(f"{pattern!r} must be a name without folders, for example '*.csv'")
        return patterns

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.password is None) == (self.oauth2 is None):
            raise ValueError("give a password or oauth2, one of the two")
        if (self.when_done == "move") != (self.move_to is not None):
            raise ValueError("move_to goes with when_done = move, and only with it")
        if self.move_to is not None and self.move_to == self.folder:
            raise ValueError("move_to must be another folder than the one that is read")
        if self.security == "none" and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("security none would send the password in the clear; expected tls or starttls")
        return self
