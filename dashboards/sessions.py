"""Log-ins of a dashboard process. The API's tokens live here, in memory; a browser holds only an unguessable key."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dashboards.api_types import Login, User


@dataclass(frozen=True)
class SignedIn:
    """One log-in: the API's token, whose it is, and when it ends (monotonic seconds)."""

    key: str = field(repr=False)
    token: str = field(repr=False)
    user: User
    ends_at: float


class SessionStore:
    """Keeps log-ins by key until they end, at most `capacity` (the oldest go first)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, capacity: int = 10_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._by_key: dict[str, SignedIn] = {}
        self._on_added: list[Callable[[], None]] = []

    def on_added(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each log-in: the event feed waits for a token to use."""
        self._on_added.append(listener)

    def add(self, login: Login) -> SignedIn:
        """Keep a fresh log-in under a new random key."""
        self._drop_ended()
        while len(self._by_key) >= self._capacity:
            del self._by_key[next(iter(self._by_key))]
        signed_in = SignedIn(
            secrets.token_urlsafe(32), login.access_token, login.user, self._clock() + login.expires_in
        )
        self._by_key[signed_in.key] = signed_in
        for listener in self._on_added:
            listener()
        return signed_in

    def find(self, key: str | None) -> SignedIn | None:
        """The log-in under this key, None when there is none or its token has expired."""
        signed_in = self._by_key.get(key or "")
        if signed_in is not None and signed_in.ends_at <= self._clock():
            self.remove(signed_in.key)
            return None
        return signed_in

    def remove(self, key: str) -> None:
        """Forget a log-in (log-out, or the API refused its token)."""
        self._by_key.pop(key, None)

    def live(self) -> list[SignedIn]:
        """Log-ins whose token still holds, longest-lived first."""
        self._drop_ended()
        return sorted(self._by_key.values(), key=lambda s: s.ends_at, reverse=True)

    def _drop_ended(self) -> None:
        now = self._clock()
        for key in [k for k, s in self._by_key.items() if s.ends_at <= now]:
            del self._by_key[key]
