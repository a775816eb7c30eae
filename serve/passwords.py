"""Which passwords are taken, and those made for a start."""

from __future__ import annotations

import secrets
from typing import Annotated

import msgspec

from serve.parameters import NO_CONTROL
from serve.problems import Conflict

# Long enough for any phrase; argon2 need not read a novel.
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, pattern=NO_CONTROL)]


def check_password(password: str, email: str, min_length: int, field: str) -> None:
    """Let a new password pass.

    Raises:
        Conflict: naming `field`: it is too short, or the e-mail.
    """
    message = None
    if len(password) < min_length:
        message = f"expected at least {min_length} characters"
    elif password.strip().lower() == email:
        message = "expected something else than the e-mail"
    if message is not None:
        raise Conflict(f"{field}: {message}", {field: message})


def one_time_password(min_length: int) -> str:
    """A random password of 128 bits or more, to be changed at the first log-in."""
    return secrets.token_urlsafe(max(16, min_length))
