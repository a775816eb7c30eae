"""Log-ins of a dashboard process. The API's tokens live here, in memory; a browser holds only an unguessable key."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dashboards.api_client import ApiClient, ApiProblem
from dashboards.api_types import Login, User

logger = logging.getLogger(__name__)

# An access token is renewed this long before its end, or halfway through a life that is shorter than twice that.
RENEW_BEFORE_S = 60.0


@dataclass(eq=False)
class SignedIn:
    """One log-in: the API's tokens, whose they are, when the access token ends and when the log-in does (monotonic
    seconds). `renewal` is the exchange of the refresh token while it goes on: it is good once."""

    key: str = field(repr=False)
    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    user: User
    renew_at: float
    token_ends_at: float
    ends_at: float
    renewal: asyncio.Task[None] | None = field(default=None, repr=False)


class SessionStore:
    """Keeps log-ins by key until they end, at most `capacity` (the oldest go first).

    A log-in lasts as long as its first refresh token, however often that is exchanged: the process must not keep alive
    for good what nobody sits at any more.
    """

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
        renew_at, token_ends_at = self._ends(login)
        ends_at = max(token_ends_at, self._clock() + login.refresh_expires_in)
        signed_in = SignedIn(
            secrets.token_urlsafe(32),
            login.access_token,
            login.refresh_token,
            login.user,
            renew_at,
            token_ends_at,
            ends_at,
        )
        self._by_key[signed_in.key] = signed_in
        for listener in self._on_added:
            listener()
        return signed_in

    def find(self, key: str | None) -> SignedIn | None:
        """The log-in under this key, None when there is none or it has ended."""
        signed_in = self._by_key.get(key or "")
        if signed_in is not None and signed_in.ends_at <= self._clock():
            self.remove(signed_in.key)
            return None
        return signed_in

    def remove(self, key: str) -> None:
        """Forget a log-in (log-out, or the API refused its token)."""
        self._by_key.pop(key, None)

    def live(self) -> list[SignedIn]:
        """Log-ins that go on, longest-lived first."""
        self._drop_ended()
        return sorted(self._by_key.values(), key=lambda s: s.ends_at, reverse=True)

    async def token_of(self, signed_in: SignedIn, api: ApiClient) -> str:
        """An access token that holds, renewed through `api` (without a token of its own) when its end is near.

        All callers wait for one exchange; it goes on though a caller is cancelled, or the next token would be lost.

        Raises:
            ApiProblem: 401 when the log-in has ended; others when the token has run out and the API is away.
        """
        if signed_in.refresh_token and signed_in.renew_at <= self._clock():
            if signed_in.renewal is None or signed_in.renewal.done():
                signed_in.renewal = asyncio.create_task(self._renew(signed_in, api))
            await asyncio.shield(signed_in.renewal)
        return signed_in.token

    async def _renew(self, signed_in: SignedIn, api: ApiClient) -> None:
        try:
            login = await api.refresh(signed_in.refresh_token)
        except ApiProblem as problem:
            if problem.status == 401:
                self.remove(signed_in.key)
            elif self._clock() < signed_in.token_ends_at:
                logger.info("A token was not renewed, it still holds: %s", problem.sentence)
                return
            raise
        signed_in.token, signed_in.refresh_token = login.access_token, login.refresh_token
        signed_in.user = login.user
        signed_in.renew_at, signed_in.token_ends_at = self._ends(login)

    def _ends(self, login: Login) -> tuple[float, float]:
        """When to renew the access token, and when it ends."""
        now = self._clock()
        return now + max(login.expires_in - RENEW_BEFORE_S, login.expires_in / 2), now + login.expires_in

    def _drop_ended(self) -> None:
        now = self._clock()
        for key in [k for k, s in self._by_key.items() if s.ends_at <= now]:
            del self._by_key[key]
