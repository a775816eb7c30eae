"""What a source that is a REST API needs to know."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from fmrp_erp_api.addresses import is_forbidden, is_local
from fmrp_erp_api.auth_config import Auth, HeaderName, NoAuth, OAuth2, Strict
from fmrp_erp_api.stream_config import OVERRIDES, Stream

MIB = 1 << 20

_OF_AUTH = re.compile(r"authorization|cookie|token|secret|passw|api-?key|subscription-?key", re.IGNORECASE)
# Ours to set: they say how a body is framed, packed or addressed.
_OF_TRANSPORT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "if-none-match"}
HeaderValue = Annotated[str, Field(max_length=2000, pattern=r"^[\x20-\x7e]*$")]


class ApiConfig(Strict):
    """Configuration of a REST API. Nothing but GET, and POST where a stream asks for it, is ever sent."""

    base_url: AnyHttpUrl = Field(description="Address of the API, for example https://erp.example.com/api/v1.")
    allow_http: bool = Field(
        default=False, description="Allow http:// to another machine: log-in and data can then be read on the way."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) of the plant's own authority, trusted beside the public ones."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, max_length=50, description="Headers sent with every request; none that is secret."
    )
    secret_headers: dict[HeaderName, SecretStr] = Field(
        default_factory=dict, max_length=10, description="Headers that are secret, such as a gateway's key."
    )
    auth: Auth = Field(default=NoAuth(), description="How to log in: none, bearer, basic, api_key or oauth2.")
    streams: tuple[Stream, ...] = Field(
        min_length=1, max_length=100, description="Lists to read, in this order: items before what names them."
    )
    connect_timeout_s: float = Field(default=10, gt=0, le=120, description="Seconds to wait for a connection.")
    request_timeout_s: float = Field(default=60, gt=0, le=900, description="Seconds one answer may take in all.")
    max_run_s: float = Field(default=3600, gt=0, le=86_400, description="Seconds one reading may take at the source.")
    attempts: int = Field(default=4, ge=1, le=10, description="Tries for one request before the reading is put off.")
    max_wait_s: float = Field(
        default=60,
        ge=0,
        le=900,
        description="Longest wait in seconds that the API may ask for within a reading.",
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, le=60_000, description="Most requests sent in a minute; without: as fast as it answers."
    )
    max_response_bytes: int = Field(
        default=64 * MIB,
        ge=1000,
        le=1024 * MIB,
        description="Largest answer, unpacked, and CSV file, in bytes.",
    )
    max_page_records: int = Field(default=200_000, ge=1, le=2_000_000, description="Most records in one answer.")
    max_pages: int = Field(default=20_000, ge=1, le=1_000_000, description="Most pages of one stream in one reading.")
    batch_rows: int = Field(default=20_000, ge=1, le=100_000, description="Rows handed over at a time.")

    @field_validator("headers")
    @classmethod
    def _not_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if _OF_AUTH.search(name):
                raise ValueError(f"{name!r} sounds secret: it belongs in auth or in secret_headers")
        return headers

    @field_validator("secret_headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not value.get_secret_value() or not re.fullmatch(r"[\x20-\x7e]{1,8000}", value.get_secret_value()):
                raise ValueError(f"the value of {name!r} must be printable ASCII, at least one character")
        return headers

    @field_validator("ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("must be an absolute path: a relative one would depend on where the worker was started")
        return path

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_address("base_url", self.base_url)
        if self.base_url.query or self.base_url.fragment:
            raise ValueError("base_url: must end before '?' and '#'; parameters belong in a stream's params")
        if isinstance(self.auth, OAuth2):
            self._check_address("token_url", self.auth.token_url)
        for name in [*self.headers, *self.secret_headers]:
            if name.lower() in _OF_TRANSPORT:
                raise ValueError(f"headers: {name!r} is set by the connector itself")
            if name.lower() in OVERRIDES:
                raise ValueError(f"headers: {name!r} would ask for another method: sources are only read")
        names = [stream.name for stream in self.streams]
        if len(set(names)) < len(names):
            raise ValueError("streams: each needs a name of its own")
        return self

    def _check_address(self, field: str, url: AnyHttpUrl) -> None:
        host = url.host or ""
        if url.username or url.password:
            raise ValueError(f"{field}: must hold no user or password; they belong in auth")
        if is_forbidden(host):
            raise ValueError(f"{field}: {host} is an address of the machine's own network setup, not of an API")
        if url.scheme == "http" and not (self.allow_http or is_local(host)):
            raise ValueError(f"{field}: must start with https://, or allow_http be true")
