"""The key files that Google gives out, and what is asked for with them."""

import json
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account

READ = "https://www.googleapis.com/auth/gmail.readonly"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_LARGEST = 20_000
_ACCOUNT_FIELDS = ("client_email", "private_key")
_USER_FIELDS = ("client_id", "client_secret", "refresh_token")


@dataclass(frozen=True)
class KeyFile:
    """Fields of a key file; they hold secrets and are not shown."""

    is_service_account: bool
    fields: dict[str, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its JSON. Of other kinds none is taken: some name programs to run, or addresses to ask.

        Raises:
            ValueError: it is none of the two kinds; the message holds nothing of the file.
        """
        try:
            # What cannot be read is not shown: neither it nor the error, which quotes it.
            given = json.loads(text) if len(text) <= _LARGEST else None
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise ValueError("credentials must be the JSON of a key file, whole")
        kind = given.get("type", "authorized_user")
        if kind not in ("service_account", "authorized_user"):
            raise ValueError("credentials must be of type service_account or authorized_user")
        is_account = kind == "service_account"
        names = _ACCOUNT_FIELDS if is_account else _USER_FIELDS
        if missing := [name for name in names if not isinstance(given.get(name), str) or not given[name]]:
            raise ValueError(f"credentials of type {kind} lack {', '.join(missing)}")
        fields = {name: str(value) for name, value in given.items() if isinstance(value, str)}
        fields.setdefault("token_uri", _TOKEN_URI)
        if not is_safe_address(fields["token_uri"]):
            raise ValueError("credentials: token_uri must begin with https://")
        return cls(is_account, fields)

    @property
    def client_id(self) -> str:
        """Number or name by which Google's consoles know this client."""
        return self.fields.get("client_id", "")

    @property
    def token_uri(self) -> str:
        """Where access tokens are given out."""
        return self.fields["token_uri"]

    def credentials(self, user: str | None, scope: str) -> Any:
        """For google-auth. ValueError: the private key cannot be read."""
        if self.is_service_account:
            return service_account.Credentials.from_service_account_info(self.fields, scopes=[scope], subject=user)
        # A consent to more than reading serves as it is: nothing but reading goes out (see `Transport`). To change
        # labels it must cover that, and says so at once.
        return user_credentials.Credentials(
            token=None,
            refresh_token=self.fields["refresh_token"],
            client_id=self.fields["client_id"],
            client_secret=self.fields["client_secret"],
            token_uri=self.token_uri,
            scopes=[scope] if scope == MODIFY else None,
        )


def is_safe_address(url: str) -> bool:
    """Whether what is sent there stays secret: by TLS, or on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1"))
    )
