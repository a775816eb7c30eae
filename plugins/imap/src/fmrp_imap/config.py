"""What must be known of an IMAP mailbox."""

import ssl
import unicodedata
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fmrp_sdk import DATA_FILES

MIB = 1 << 20
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Strict(BaseModel):
    # Without the last, a message on a secret that does not fit would tell it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OAuth2(_Strict):
    """How an access token is fetched, in place of a password (Microsoft 365 takes nothing else)."""

    token_url: AnyHttpUrl = Field(description="Where tokens are given out, an https:// address.")
    client_id: str = Field(min_length=1, max_length=500, description="Id of the registered application.")
    client_secret: SecretStr | None = Field(default=None, description="Its secret; some applications have none.")
    refresh_token: SecretStr | None = Field(
        default=None, description="Token of the user's consent; without one the application logs in by itself."
    )
    scope: str = Field(
        default="",
        max_length=2_000,
        description="Rights asked for, for example https://outlook.office365.com/.default.",
    )

    @field_validator("token_url")
    @classmethod
    def _encrypted(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.username or url.password:
            raise ValueError("must hold no user and password; they belong into client_id and client_secret")
        if url.scheme != "https" and url.host not in THIS_MACHINE:
            raise ValueError("must begin with https://, as it is sent the secret")
        return url

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError("give client_secret, refresh_token, or both")
        return self


class ImapConfig(_Strict):
    """Configuration of a mailbox. Mails are left as they are unless `when_done` says otherwise."""

    host: str = Field(
        min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:%-]+$", description="Name or address of the mail server."
    )
    port: int = Field(default=993, ge=1, le=65_535, description="993 for TLS from the start, 143 for STARTTLS.")
    security: Literal["tls", "starttls", "none"] = Field(
        default="tls", description="none sends everything in the clear and is taken on this machine only."
    )
    ca_certificate: str | None = Field(
        default=None,
        max_length=200_000,
        description="Certificate (PEM) of the authority that signed the server's; empty for the usual ones.",
    )
    user: _Text = Field(description="Whom to log in as, often the whole address.")
    password: SecretStr | None = Field(default=None, description="Password, or application password.")
    oauth2: OAuth2 | None = Field(default=None, description="Log in with an access token instead.")
    folder: _Text = Field(default="INBOX", description="Folder that is read.")
    senders: tuple[_Text, ...] = Field(
        default=(),
        max_length=100,
        description="Whose mails are taken: orders@supplier.example, @supplier.example for all of a domain, * and ? as "
        "wildcards; any of them. Empty: everybody's.",
    )
    subject: _Text | None = Field(default=None, description="Text that the subject must contain, whatever the case.")
    since: date | None = Field(default=None, description="Mails received before this day are not looked at.")
    attachments: tuple[_Text, ...] = Field(
        default=DATA_FILES,
        min_length=1,
        max_length=100,
        description="Names of attachments to take, with * and ? as wildcards.",
    )
    when_done: Literal["leave", "seen", "flag", "move"] = Field(
        default="leave", description="What is done to a mail whose attachments were taken."
    )
    move_to: _Text | None = Field(default=None, description="Folder for when_done = move; it must be there.")
    max_mail_bytes: int = Field(default=64 * MIB, gt=0, le=128 * MIB, description="Largest mail taken, in bytes.")
    timeout_s: float = Field(default=30.0, gt=0, le=300, description="Longest wait for the server, in seconds.")

    @field_validator("ca_certificate")
    @classmethod
    def _is_pem(cls, certificate: str | None) -> str | None:
        if not certificate:
            return None
        try:
            ssl.create_default_context(cadata=certificate)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError("must be a certificate in PEM form: -----BEGIN CERTIFICATE----- and so on") from error
        return certificate

    @field_validator("password")
    @classmethod
    def _one_line(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and any(unicodedata.category(each) == "Cc" for each in password.get_secret_value()):
            raise ValueError("must hold no line breaks or other control characters")
        return password

    @field_validator("senders")
    @classmethod
    def _addresses(cls, senders: tuple[str, ...]) -> tuple[str, ...]:
        for sender in senders:
            if "@" not in sender and "*" not in sender:
                raise ValueError(f"{sender!r} must be an address, @domain, or hold * as a wildcard")
        return senders

    @field_validator("attachments")
    @classmethod
    def _names_only(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if "/" in pattern:
                raise ValueError(f"{pattern!r} must be a name without folders, for example '*.csv'")
        return patterns

    @model_validator(mode="after")
    def _logs_in(self) -> Self:
        if (self.password is None) == (self.oauth2 is None):
            raise ValueError("give a password or oauth2, one of the two")
        if self.security == "none" and self.host not in THIS_MACHINE:
            raise ValueError("security none would send the password in the clear; expected tls or starttls")
        if self.security == "starttls" and self.port == 993:
            raise ValueError("port 993 speaks TLS from the start; expected security tls, or port 143")
        return self

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if (self.when_done == "move") != (self.move_to is not None):
            raise ValueError("move_to goes with when_done = move, and only with it")
        if self.move_to is not None and _same_folder(self.move_to, self.folder):
            raise ValueError("move_to must be another folder than the one that is read")
        return self


def _same_folder(one: str, other: str) -> bool:
    # Of all names, INBOX alone is the same in any case (RFC 3501, section 5.1).
    return one == other or one.upper() == other.upper() == "INBOX"
