"""What a source on an SFTP server needs to know."""

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from fmrp_erp_sftp.host_key import TrustedHostKeys
from fmrp_erp_sftp.patterns import ANY_FOLDERS
from fmrp_sdk import DATA_FILES

MIB = 1 << 20
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


class ErpSftpConfig(BaseModel):
    """Configuration of a source on an SFTP server. Nothing there is written, unless `after_reading` asks for that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(max_length=253, description="Name or address of the SFTP server.")
    port: int = Field(default=22, ge=1, le=65_535, description="TCP port of the SFTP server.")
    username: str = Field(min_length=1, max_length=255, description="User to log in as.")
    password: SecretStr | None = Field(
        default=None, description="Password of the user; also given where the server asks for it in a dialogue."
    )
    private_key: SecretStr | None = Field(
        default=None, description="Private key as text, OpenSSH or PEM: the whole file, with its first and last line."
    )
    passphrase: SecretStr | None = Field(default=None, description="Passphrase of the private key, if it has one.")
    host_key: tuple[str, ...] = Field(
        default=(),
        max_length=20,
        description="The server's host keys: lines of known_hosts ('host ssh-ed25519 AAAA...') or fingerprints "
        "('SHA256:...'). Without one nothing is read; the connection test shows what the server has.",
    )
    folder: str = Field(
        default=".",
        min_length=1,
        max_length=4_000,
        description="Folder on the server below which all files lie; '.' is where the log-in leads to.",
    )
    patterns: tuple[str, ...] = Field(
        default=DATA_FILES,
        min_length=1,
        max_length=100,
        description="Files to take, as paths below the folder: 'orders/*.csv', 'stock/**/*.xlsx'. * and ? stand for "
        "parts of a name, ** for any folders; upper and lower case are the same.",
    )
    max_depth: int = Field(default=5, ge=0, le=20, description="Levels of folders that are looked into, at most.")
    max_entries: int = Field(
        default=100_000, gt=0, le=1_000_000, description="Names in the folders together, at most; more is an error."
    )
    max_file_bytes: int = Field(default=64 * MIB, gt=0, le=1024 * MIB, description="Largest file taken, in bytes.")
    done_suffix: str | None = Field(
        default=None,
        min_length=2,
        max_length=20,
        description="If set, e.g. '.done', a file is read only once a file of its name plus this stands beside it, no "
        "older than itself; its age does not matter then.",
    )
    stable_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds a file must have been left unchanged before it is read, by the server's clock.",
    )
    after_reading: Literal["leave", "move", "delete"] = Field(
        default="leave", description="What becomes of a file on the server once its content is stored here."
    )
    archive_folder: str | None = Field(
        default=None,
        min_length=1,
        max_length=4_000,
        description="With 'move': where files go, as a path from the folder or from the root; made if missing.",
    )
    allow_delete: bool = Field(default=False, description="Must be set for 'delete': files are gone from the server.")
    connect_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="Seconds for connecting and log-in together."
    )
    login_timeout_s: float = Field(default=20.0, gt=0, le=600, description="Seconds for log-in, once connected.")
    operation_timeout_s: float = Field(default=60.0, gt=0, le=3_600, description="Seconds for any one answer.")
    keepalive_s: float = Field(
        default=15.0,
        gt=0,
        le=3_600,
        description="Seconds of silence until the server is asked for a sign of life.",
    )
    reconnects: int = Field(
        default=3,
        ge=0,
        le=20,
        description="How often a lost link is made again for one file, going on mid-file.",
    )

    @field_validator("host")
    @classmethod
    def _bare(cls, host: str) -> str:
        if not _HOST.fullmatch(host):
            raise ValueError("must be a host name or address alone, for example 'sftp.example.com', without 'sftp://'")
        return host

    @field_validator("host_key")
    @classmethod
    def _known(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        TrustedHostKeys.parse(entries)
        return entries

    @field_validator("folder", "archive_folder")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        if path is not None and ("\0" in path or "\\" in path):
            raise ValueError("must be a path with / between folders, for example '/outbox/erp'")
        return path

    @field_validator("patterns")
    @classmethod
    def _below(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            parts = pattern.split("/")
            if not {"", ".", ".."}.isdisjoint(parts) or "\\" in pattern:
                raise ValueError(f"{pattern!r} must be a path below the folder, for example 'orders/*.csv'")
            if any(ANY_FOLDERS in part and part != ANY_FOLDERS for part in parts) or parts[-1] == ANY_FOLDERS:
                raise ValueError(f"{pattern!r}: ** stands for whole folders before a name, as in 'orders/**/*.csv'")
        return patterns

    @field_validator("done_suffix")
    @classmethod
    def _suffix(cls, suffix: str | None) -> str | None:
        if suffix is not None and (not suffix.startswith(".") or "/" in suffix):
            raise ValueError("must start with a dot and hold no folder, for example '.done'")
        return suffix

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password is None and self.private_key is None:
            raise ValueError("password or private_key: give one of them, or both where the server asks for both")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("passphrase: is of no use without a private_key")
        if (self.after_reading == "move") != (self.archive_folder is not None):
            raise ValueError("archive_folder: goes with after_reading 'move', and 'move' needs it")
        if self.after_reading == "delete" and not self.allow_delete:
            raise ValueError("allow_delete: must be true for after_reading 'delete'")
        for pattern in self.patterns:
            if (depth := sum(part != ANY_FOLDERS for part in pattern.split("/")) - 1) > self.max_depth:
                raise ValueError(f"max_depth: {pattern!r} lies {depth} folders deep, more than {self.max_depth}")
        return self

    @property
    def server(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"
