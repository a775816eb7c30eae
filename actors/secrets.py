"""Secrets of sources: encrypted in the database, or names of an environment variable or file that hold them.

A secret is stored as {"$sealed": token}, Fernet under the newest of FMRP_SECRET_KEYS. What is encrypted says for which
source, connector and field, so that a token moved elsewhere does not open. References are stored as they are:
`env:NAME` for names that begin with FMRP_SECRET_ENV_PREFIX, `file:/path` for files below FMRP_SECRET_FOLDER; both are
looked up each time the configuration is opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import BaseModel

from actors.config_secrets import (
    SEALED,
    SET,
    Ambiguous,
    Path,
    filled_in,
    is_sealed,
    map_sealed,
    map_secrets,
    secret_values,
    told,
)
from actors.connectors import BadConfig, validated
from actors.redact import redact_known, remember_secrets
from fmrp_sdk import Connector
from settings import Settings

LARGEST_FILE = 64 * 1024
_REFERENCE = re.compile(r"(env|file):(.*)", re.DOTALL)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

log = structlog.get_logger(__name__)


class SecretError(ValueError):
    """A secret cannot be stored, found or opened. The message names source and field, and nothing of the secret."""

    def __init__(self, source: str, field: str, message: str) -> None:
        super().__init__(f"source {source}: {field}: {message}")
        self.field = field
        self.message = message


def opened(config: Mapping[str, Any], connector: type[Connector], source: str, settings: Settings) -> BaseModel:
    """A stored configuration as the connector takes it. Its secrets are kept out of all logs of this process from now.

    Raises:
        SecretError: a secret cannot be opened or found.
        BadConfig: the connector does not take the configuration.
    """
    vault = _Vault(settings, source, connector.name)
    clear = map_secrets(connector.config_model, config, vault.opened)
    if vault.found_clear:
        log.warning("secrets of a source are stored in clear: run `fmrp secrets rotate`", source=source)
    try:
        return _taken(connector, clear)
    except BadConfig as error:
        raise BadConfig(error.errors, f"source {source}: config") from None


def tried(
    given: Mapping[str, Any], stored: Mapping[str, Any], connector: type[Connector], source: str, settings: Settings
) -> BaseModel:
    """What is given as the connector takes it. Of what is stored, secrets stay that are left out or given as `SET`.

    Raises:
        SecretError: a reference leads nowhere, or a stored secret that is to stay cannot be opened.
        BadConfig: the connector does not take the configuration.
    """
    return _tried(given, stored, connector, _Vault(settings, source, connector.name))[1]


def to_store(
    given: Mapping[str, Any], stored: Mapping[str, Any], connector: type[Connector], source: str, settings: Settings
) -> dict[str, Any]:
    """What to store for what is given; see `tried` for what stays of what is stored.

    Raises:
        SecretError: as `tried`, or no key is set to encrypt with.
        BadConfig: as `tried`.
    """
    vault = _Vault(settings, source, connector.name)
    return map_secrets(connector.config_model, _tried(given, stored, connector, vault)[0], vault.sealed)


def encrypted_anew(
    config: Mapping[str, Any], connector: type[Connector] | None, name: str, source: str, settings: Settings
) -> tuple[dict[str, Any], int]:
    """The configuration with all its secrets under the newest key, and how many these are. Without its connector
    (`name`), only what is encrypted already is known to be secret.

    Raises:
        SecretError: a secret cannot be opened, or no key is set.
    """
    vault = _Vault(settings, source, name)
    count = 0

    def anew(path: Path, value: Any) -> Any:
        nonlocal count
        fresh = vault.sealed(path, vault.unsealed(path, value))
        count += is_sealed(fresh)
        return fresh

    if connector is None:
        return map_sealed(config, anew), count
    return map_secrets(connector.config_model, config, anew), count


def shown(connector: type[Connector] | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without its secrets: of each, its reference, or that it is there."""
    if connector is None:
        return map_secrets(None, config, lambda _, __: SET)
    return map_secrets(connector.config_model, config, lambda _, value: value if _is_reference(value) else SET)


def _tried(
    given: Mapping[str, Any], stored: Mapping[str, Any], connector: type[Connector], vault: _Vault
) -> tuple[dict[str, Any], BaseModel]:
    """What is given with what stays, in clear; and the same as the connector takes it."""
    try:
        clear = filled_in(connector.config_model, stored, given, vault.unsealed)
    except Ambiguous as error:
        raise BadConfig({told(error.path): error.message}) from None
    return clear, _taken(connector, map_secrets(connector.config_model, clear, vault.opened))


def _taken(connector: type[Connector], clear: Mapping[str, Any]) -> BaseModel:
    try:
        config = validated(connector, clear)
    except BadConfig as error:
        # Validators are the connector's, and may repeat what they were given.
        raise BadConfig({field: redact_known(message) for field, message in error.errors.items()}) from None
    remember_secrets(*secret_values(config))
    return config


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.match(value) is not None


class _Vault:
    """Encrypts, decrypts and looks up the secrets of one source. Its methods take the path of a secret's field."""

    def __init__(self, settings: Settings, source: str, connector: str) -> None:
        self._settings = settings
        self._source = source
        self._connector = connector
        keys = settings.fernet_keys()
        self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys]) if keys else None
        self.found_clear = False

    def opened(self, path: Path, value: Any) -> Any:
        """The secret itself, of whatever stands for it."""
        if _is_reference(value):
            found: Any = self._looked_up(path, str(value))
        else:
            self.found_clear |= not is_sealed(value)
            found = self.unsealed(path, value)
        if isinstance(found, str):
            remember_secrets(found)
        return found

    def unsealed(self, path: Path, value: Any) -> Any:
        """The secret of an encrypted one; anything else as it is."""
        if not is_sealed(value):
            return value
        if self._fernet is None:
            raise self._error(path, "is encrypted, and FMRP_SECRET_KEYS is not set here")
        try:
            found = json.loads(self._fernet.decrypt(value[SEALED]))
        except (InvalidToken, ValueError):
            advice = "bring back the key it was stored with, or give the secret anew"
            raise self._error(path, f"cannot be decrypted with FMRP_SECRET_KEYS: {advice}") from None
        if not isinstance(found, dict) or found.get("for") != self._purpose(path):
            raise self._error(path, "was encrypted for another source or field and moved here: give the secret anew")
        return found["value"]

    def sealed(self, path: Path, value: Any) -> Any:
        """What to store for a secret: itself encrypted, or its reference."""
        if _is_reference(value):
            return value
        if is_sealed(value):
            raise self._error(path, "expected the secret itself")
        if self._fernet is None:
            advice = f"set it, or give a reference: env:{self._settings.secret_env_prefix}... or file:/..."
            raise self._error(path, f"FMRP_SECRET_KEYS is not set, and no secret is stored in clear: {advice}")
        text = json.dumps({"for": self._purpose(path), "value": value})
        return {SEALED: self._fernet.encrypt(text.encode()).decode()}

    def _purpose(self, path: Path) -> list[str | int]:
        return [self._source, self._connector, *path]

    def _looked_up(self, path: Path, reference: str) -> str:
        kind, _, name = reference.partition(":")
        return self._variable(path, name) if kind == "env" else self._file(path, name)

    def _variable(self, path: Path, name: str) -> str:
        prefix = self._settings.secret_env_prefix
        if not _ENV_NAME.fullmatch(name) or not name.startswith(prefix):
            raise self._error(path, f"expected env:{prefix}...: no other variables are read (FMRP_SECRET_ENV_PREFIX)")
        if not (value := os.environ.get(name)):
            raise self._error(path, f"the environment variable {name} is not set here")
        return value

    def _file(self, path: Path, name: str) -> str:
        folder = self._settings.secret_folder
        if folder is None:
            raise self._error(path, "FMRP_SECRET_FOLDER is not set, and files are read from nowhere else")
        try:
            # Mounted secrets are symbolic links within their folder; one that leads out of it is none.
            file = FilePath(name).resolve(strict=True)
            is_below = file.is_relative_to(folder.resolve())
            content = _bounded(file) if is_below and file.is_file() else None
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            reason = getattr(error, "strerror", None) or "no such path"
            raise self._error(path, f"{name} cannot be read: {reason}") from None
        if not is_below:
            raise self._error(path, f"expected a file below {folder} (FMRP_SECRET_FOLDER)")
        if content is None:
            raise self._error(path, f"{name} is not a file")
        if not 1 <= len(content) <= LARGEST_FILE:
            raise self._error(path, f"{name}: expected 1 to {LARGEST_FILE:,} bytes")
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise self._error(path, f"{name} is not text in UTF-8") from None

    def _error(self, path: Path, message: str) -> SecretError:
        return SecretError(self._source, f"config.{told(path)}", message)


def _bounded(file: FilePath) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST_FILE + 1)
