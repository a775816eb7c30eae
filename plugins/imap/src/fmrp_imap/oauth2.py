"""Access tokens, fetched as RFC 6749 (sections 4.4 and 6) says."""

import json
import re

import httpx

from fmrp_imap.config import OAuth2
from fmrp_sdk import FatalError, RetriableError

_LARGEST_ANSWER = 256 << 10
_LONGEST_WAIT_S = 3_600.0
# What an endpoint may tell of itself in our messages: one of the words of RFC 6749, section 5.2.
_CODE = re.compile(r"[a-z_]{1,60}")


def access_token(oauth2: OAuth2, timeout_s: float) -> str:
    """A fresh access token.

    Raises:
        FatalError: the endpoint refuses the client or its refresh token, or does not speak OAuth2.
        RetriableError: it is not reached, or busy.
    """
    url = str(oauth2.token_url)
    form = {"client_id": oauth2.client_id, "grant_type": "client_credentials"}
    if oauth2.client_secret is not None:
        form["client_secret"] = oauth2.client_secret.get_secret_value()
    if oauth2.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": oauth2.refresh_token.get_secret_value()}
    if oauth2.scope:
        form["scope"] = oauth2.scope
    try:
        # Never to another address: the form holds the secrets.
        with httpx.stream("POST", url, data=form, timeout=timeout_s, follow_redirects=False) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise FatalError(f"oauth2.token_url {url}: the answer is no token; is the address right?")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RetriableError(f"oauth2.token_url {url} is not reached ({type(error).__name__})") from None
    return _token_of(url, answer, bytes(body))


def _token_of(url: str, answer: httpx.Response, body: bytes) -> str:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    fields = told if isinstance(told, dict) else {}
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise RetriableError(f"oauth2.token_url {url} answers with status {answer.status_code}", _wait(answer))
    token = fields.get("access_token")
    if answer.is_success and isinstance(token, str) and token.isascii() and token.isprintable() and token:
        return token
    code = str(fields.get("error", ""))
    reason = f"status {answer.status_code}" + (f", {code}" if _CODE.fullmatch(code) else "")
    raise FatalError(
        f"oauth2.token_url {url} gives no access token ({reason}): check client_id, client_secret, refresh_token, scope"
    )


def _wait(answer: httpx.Response) -> float | None:
    given = answer.headers.get("retry-after", "")
    return min(float(given), _LONGEST_WAIT_S) if given.isdecimal() and given.isascii() else None
