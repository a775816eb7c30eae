"""The server's host keys that are trusted, as the administrator gave them: known_hosts lines or SHA256 fingerprints."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import asyncssh

_GROUPS: tuple[tuple[str, ...], ...] = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256",),
    ("ecdsa-sha2-nistp384",),
    ("ecdsa-sha2-nistp521",),
    ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)
"""Algorithms of host keys by kind of key, the preferred first. Certificates are not asked for."""

_FINGERPRINT = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?")
_KEY_KIND = re.compile(r"(?:ssh|ecdsa-sha2)-[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class TrustedHostKeys:
    """Fingerprints that are trusted, and the kinds of their keys ("ssh-rsa") as far as they were told."""

    fingerprints: frozenset[str]
    kinds: frozenset[str]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """ValueError: an entry is neither a known_hosts line nor a SHA256 fingerprint."""
        lines = (line.strip() for entry in entries for line in entry.splitlines())
        found = [_entry(line) for line in lines if line and not line.startswith("#")]
        return cls(frozenset(fingerprint for fingerprint, _ in found), frozenset(kind for _, kind in found if kind))

    def trusts(self, key: asyncssh.SSHKey) -> bool:
        """Whether the key is one of those given."""
        return key.get_fingerprint() in self.fingerprints

    def algorithms(self) -> list[str]:
        """What to ask the server for: kinds of keys that are trusted first, as it shows the first kind it has."""
        return [name for group in sorted(_GROUPS, key=self._is_strange) for name in group]

    def _is_strange(self, group: tuple[str, ...]) -> bool:
        return self.kinds.isdisjoint(group)


def without(algorithms: Iterable[str], key: asyncssh.SSHKey) -> list[str]:
    """The algorithms by which the server may show another key than this one."""
    group = _group(key.get_algorithm())
    return [name for name in algorithms if name not in group]


def _group(kind: str) -> tuple[str, ...]:
    return next((group for group in _GROUPS if kind in group), ())


def _entry(line: str) -> tuple[str, str]:
    """Fingerprint and, where the line tells it, the kind of the key."""
    if line.startswith("@"):
        raise ValueError(f"the marker {line.split(maxsplit=1)[0]} is not supported: give the host's own key")
    words = line.split()
    for word in words:
        if (found := _FINGERPRINT.fullmatch(word)) is not None:
            return f"SHA256:{found[1]}", ""
    for kind, data in pairwise(words):
        if _KEY_KIND.fullmatch(kind):
            return _of_key(kind, data), kind
    raise ValueError(
        f"{line[:60]!r} is neither a known_hosts line ('host ssh-ed25519 AAAA...', as ssh-keyscan prints it) "
        "nor a fingerprint ('SHA256:' and 43 characters)"
    )


def _of_key(kind: str, data: str) -> str:
    if not _group(kind):
        raise ValueError(f"keys of kind {kind} are not supported: give the server's ed25519, ecdsa or rsa key")
    try:
        base64.b64decode(data, validate=True)
        return str(asyncssh.import_public_key(f"{kind} {data}").get_fingerprint())
    except (binascii.Error, asyncssh.KeyImportError):
        raise ValueError(f"the {kind} key {data[:12]!r}... is cut off or damaged: paste the whole line") from None
