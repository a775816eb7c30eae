"""Secrets of the embedded stack: made once, kept in a file only its owner can read, and passed on by environment."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from settings import is_fernet_key

FILE = "secrets.json"
KEYS_FILE = "secret_keys"


@dataclass(frozen=True)
class StackSecrets:
    """What the parts of one stack share among themselves."""

    database_password: str
    redis_password: str
    token_secret: str
    cookie_secret: str
    ray_token: str

    def __repr__(self) -> str:
        """Never print a secret."""
        return "StackSecrets(...)"


def load_or_create(data_dir: Path) -> StackSecrets:
    """Read the stack's secrets, making them at the first start."""
    path = data_dir / FILE
    if path.exists():
        return StackSecrets(**json.loads(path.read_text()))
    made = StackSecrets(**{name: secrets.token_hex(24) for name in StackSecrets.__dataclass_fields__})
    write_private(path, json.dumps(asdict(made)))
    return made


def load_or_create_keys(data_dir: Path) -> str:
    """The keys of sources' secrets, newest first, with commas between. In a file of their own, a key a line: people
    put a new one on top.

    Raises:
        ValueError: a line is no key.
    """
    path = data_dir / KEYS_FILE
    if not path.exists():
        write_private(path, Fernet.generate_key().decode() + "\n")
    keys = path.read_text().split()
    for place, key in enumerate(keys, 1):
        if not is_fernet_key(key):
            raise ValueError(f"{path}, line {place}: expected a key as `fmrp secrets key` makes them")
    return ",".join(keys)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)
