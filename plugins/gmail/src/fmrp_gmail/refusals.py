"""What Google refuses, and what goes wrong on the way, in words an administrator can act on.

Of Google's answers only codes are told: their texts may quote what was sent.
"""

import json
import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

import httplib2  # type: ignore[import-untyped]
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from googleapiclient.errors import HttpError

from fmrp_gmail.keys import KeyFile
from fmrp_sdk import ConnectorError, FatalError, RetriableError

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,60}")
_NUMBER = r"[\w.-]{1,100}"
_LONGEST_WAIT_S = 86_400.0
_TOO_MANY = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"}
_NOT_ENABLED = {"accessNotConfigured", "SERVICE_DISABLED"}
_SCOPE_LACKS = {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}


class Busy(RetriableError):
    """The server asks for patience, or the connection was lost: it may answer in a moment."""


class NotThere(FatalError):
    """There is no such mail, label or history id."""


def told(error: Exception, doing: str, key: KeyFile, scope: str, user: str | None) -> ConnectorError:
    """The sdk's error for whatever Google's libraries raise while `doing` something with the scope."""
    if isinstance(error, ConnectorError):
        return error
    if isinstance(error, RefreshError):
        return _no_token(error, key, scope, user)
    if isinstance(error, HttpError):
        return _refused(error, doing, scope, user)
    if isinstance(error, (TransportError, httplib2.HttpLib2Error)) and isinstance(error.__context__, OSError):
        return _not_answered(error.__context__, doing)
    return _not_answered(error, doing)


def _not_answered(error: BaseException, doing: str) -> ConnectorError:
    """For what went wrong before there was an answer of Gmail's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FatalError(f"{doing}: the server's certificate is not trusted; check api_url and ca_certificate")
    if isinstance(error, TimeoutError):
        return RetriableError(f"{doing}: no answer in time; is Google reached from here, or by a proxy only?")
    if isinstance(error, (ConnectionRefusedError, httplib2.ServerNotFoundError)):
        return RetriableError(f"{doing}: Google is not reached from here; check the network, and api_url if it is set")
    if isinstance(error, (OSError, HTTPException, httplib2.HttpLib2Error, TransportError)):
        return Busy(f"{doing}: the connection was lost ({type(error).__name__})")
    if isinstance(error, (ValueError, RecursionError)) and not isinstance(error, GoogleAuthError):
        return RetriableError(f"{doing}: the answer is not one of Gmail's; check api_url if it stays so")
    return FatalError(f"{doing}: Google's library fails ({type(error).__name__})")


def _no_token(error: RefreshError, key: KeyFile, scope: str, user: str | None) -> ConnectorError:
    answer = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    code = _code(answer.get("error")) or "no reason given"
    if getattr(error, "retryable", False):
        return RetriableError(f"Google gives no access token at the moment ({code})")
    if code == "invalid_scope" or (not answer and "scopes were granted" in str(error)):
        return FatalError(f"the consent does not cover the scope {scope}, which when_done asks for; give consent again")
    what = "check the key file: was it revoked?"
    if key.is_service_account and code in ("unauthorized_client", "access_denied"):
        what = (
            "domain-wide delegation is not granted. In the Admin console, under Security > API controls > Domain-wide "
            f"delegation, add the client {_code(key.client_id, _NUMBER)} with the scope {scope}"
        )
    elif key.is_service_account and code == "invalid_grant":
        what = f"check that {user} is an address of the domain, that the key is not deleted, and this machine's clock"
    elif code == "invalid_grant":
        what = (
            "the refresh token no longer holds. It ends when it is revoked, and after seven days while the consent "
            "screen is in testing; give consent again"
        )
    return FatalError(f"Google gives no access token ({code}): {what}")


def _refused(error: HttpError, doing: str, scope: str, user: str | None) -> ConnectorError:
    status = int(error.resp.status)
    reasons = _reasons(error.content)
    reason = ", ".join(sorted(reasons)) or "no reason given"
    if status in (408, 429) or status >= 500 or (status == 403 and reasons & _TOO_MANY):
        return Busy(f"{doing}: Gmail asks for patience ({status}, {reason})", _retry_after(error.resp))
    if status == 404:
        return NotThere(f"{doing}: it is not there (404)")
    who = user or "this user"
    what = f"refused ({status}, {reason}); check labels, query and api_url"
    if reasons & _NOT_ENABLED:
        what = (
            "the Gmail API is not enabled in the Google Cloud project of the credentials; enable it there, under APIs "
            "& Services > Library, and wait a few minutes"
        )
    elif reasons & _SCOPE_LACKS:
        what = f"the credentials do not cover the scope {scope}; grant it, or give consent again"
    elif "failedPrecondition" in reasons:
        what = f"Gmail is not switched on for {who} (failedPrecondition)"
    elif status == 401:
        what = "Gmail refuses the access token; check the key file: was it revoked?"
    elif status == 403:
        what = f"refused (403, {reason}); may {who} use Gmail's API in this domain?"
    return FatalError(f"{doing}: {what}")


def _reasons(content: Any) -> set[str]:
    """Codes of an error answer, of its old form and its new."""
    try:
        error = json.loads(content)["error"]
        entries = [*error.get("errors", ()), *error.get("details", ())]
        found = {_code(entry.get("reason")) for entry in entries}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return set()
    return found - {""}


def _code(given: Any, pattern: str = _CODE.pattern) -> str:
    return given if isinstance(given, str) and re.fullmatch(pattern, given) else ""


def _retry_after(answer: Any) -> float | None:
    """Seconds the server asks to wait, at most a day."""
    given = str(answer.get("retry-after", "")).strip()
    if given.isdecimal() and len(given) < 10:
        return min(float(given), _LONGEST_WAIT_S)
    try:
        seconds = (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)
