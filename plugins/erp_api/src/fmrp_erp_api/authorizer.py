"""Puts the log-in on a request, and fetches the token for it where there is one to fetch."""

import base64
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import httpx

from fmrp_erp_api.answer import Answer, clean_text, refusal
from fmrp_erp_api.auth_config import ApiKeyAuth, BasicAuth, BearerAuth, NoAuth, OAuth2
from fmrp_erp_api.call import Call
from fmrp_erp_api.config import ApiConfig
from fmrp_sdk import FatalError, RetriableError

_LEEWAY_S = 30.0
_DEFAULT_LIFE_S = 300.0


class Authorizer:
    """The log-in of one session. `secrets` is what must not be told, in every form it is sent in."""

    def __init__(self, config: ApiConfig, send: Callable[[Call], Awaitable[Answer]]) -> None:
        """`send` gives the answer to a request without log-in, of whichever status."""
        self._auth = config.auth
        self._headers = {name: value.get_secret_value() for name, value in config.secret_headers.items()}
        self._send = send
        self._token: str | None = None
        self._token_until = 0.0
        self.secrets: set[str] = set()
        self._hide(*self._headers.values())
        match self._auth:
            case BearerAuth(token=token):
                self._hide(token.get_secret_value())
            case BasicAuth(user=user, password=password):
                self._hide(password.get_secret_value(), _basic(user, password.get_secret_value()))
            case ApiKeyAuth(key=key):
                self._hide(key.get_secret_value())
            case OAuth2(client_id=user, client_secret=secret):
                self._hide(secret.get_secret_value(), _form_basic(user, secret.get_secret_value()))

    async def authorized(self, call: Call) -> Call:
        """The request with the log-in on it. RetriableError, FatalError: no token is to be had."""
        headers = {**self._headers, **call.headers}
        match self._auth:
            case NoAuth():
                pass
            case BearerAuth(token=token):
                headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            case BasicAuth(user=user, password=password):
                headers["Authorization"] = f"Basic {_basic(user, password.get_secret_value())}"
            case ApiKeyAuth(name=name, key=key, placed_in="header"):
                headers[name] = key.get_secret_value()
            case ApiKeyAuth():
                call = self.keyed(call)
            case OAuth2():
                headers["Authorization"] = f"Bearer {await self._valid_token(self._auth)}"
        return replace(call, headers=headers)

    def keyed(self, call: Call) -> Call:
        """The request with the key in its query, where that is where it goes."""
        if isinstance(self._auth, ApiKeyAuth) and self._auth.placed_in == "query":
            return replace(call, url=call.url.copy_set_param(self._auth.name, self._auth.key.get_secret_value()))
        return call

    def forget(self) -> bool:
        """Drops a fetched token. Whether there was one, so that another is worth a try."""
        had, self._token = self._token is not None, None
        return had

    def stripped(self, url: httpx.URL) -> httpx.URL:
        """The address without the key that `authorized` adds, also where the API put it in itself."""
        if isinstance(self._auth, ApiKeyAuth) and self._auth.placed_in == "query":
            return url.copy_remove_param(self._auth.name)
        return url

    async def _valid_token(self, auth: OAuth2) -> str:
        if self._token is None or time.monotonic() >= self._token_until:
            self._token, life_s = await self._fetch_token(auth)
            self._hide(self._token)
            self._token_until = time.monotonic() + max(life_s - _LEEWAY_S, life_s / 2)
        return self._token

    async def _fetch_token(self, auth: OAuth2) -> tuple[str, float]:
        """A new token and its life in seconds."""
        form = {"grant_type": "client_credentials"}
        form |= {name: value for name, value in (("scope", auth.scope), ("audience", auth.audience)) if value}
        headers = {"Accept": "application/json"}
        secret = auth.client_secret.get_secret_value()
        if auth.credentials_in == "header":
            headers["Authorization"] = f"Basic {_form_basic(auth.client_id, secret)}"
        else:
            form |= {"client_id": auth.client_id, "client_secret": secret}
        call = Call("POST", httpx.URL(str(auth.token_url)), headers, form=form, with_auth=False)
        answer = await self._send(call)
        if answer.status != 200:
            error = refusal(answer, lambda text: clean_text(text, self.secrets))
            if isinstance(error, RetriableError):
                raise error
            raise FatalError(f"no token for the log-in; check client_id, client_secret and scope. {error}")
        return _token_in(answer)

    def _hide(self, *values: str) -> None:
        for value in values:
            if len(value) >= 4:
                self.secrets |= {value, quote(value, safe=""), quote_plus(value)}


def _token_in(answer: Answer) -> tuple[str, float]:
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(answer.body)
    token = found.get("access_token") if isinstance(found, dict) else None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise FatalError(f"{answer.asked}: the answer holds no access_token; check token_url")
    try:
        life_s = float(found.get("expires_in", _DEFAULT_LIFE_S))
    except (TypeError, ValueError):
        life_s = _DEFAULT_LIFE_S
    return token, life_s if 0 < life_s < 1e9 else _DEFAULT_LIFE_S


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _form_basic(client_id: str, secret: str) -> str:
    """RFC 6749, 2.3.1: both are form-encoded first."""
    return _basic(quote_plus(client_id), quote_plus(secret))
