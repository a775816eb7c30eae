"""Requests to one API: logged in, in bounds, not too many, tried again where that may help."""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx

from fmrp_erp_api.addresses import is_forbidden
from fmrp_erp_api.answer import Answer, clean_text, read_answer, refusal
from fmrp_erp_api.authorizer import Authorizer
from fmrp_erp_api.call import Call
from fmrp_erp_api.config import MIB, ApiConfig
from fmrp_erp_api.rate_limits import rest_s
from fmrp_erp_api.stream_config import OVERRIDES
from fmrp_sdk import FatalError, RetriableError

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 5
_CONDITIONS = {"if-none-match", "if-modified-since"}
_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 30.0

_is_ours: ContextVar[bool] = ContextVar("fmrp_erp_api_request", default=False)


def _untold(_record: logging.LogRecord) -> bool:
    """httpx logs addresses and httpcore headers, and either may hold a secret: of our requests nothing is logged."""
    return not _is_ours.get()


for _name in ("httpx", "httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_untold)


class Session:
    """An open client; use it as an asynchronous context. Times are those spent here, not in the runner."""

    def __init__(self, config: ApiConfig, attempts: int | None = None) -> None:
        """`attempts`: other than the configured tries for a request."""
        self._config = config
        self._attempts = attempts or config.attempts
        self._spent_s = 0.0
        self._next_at = self._closed_until = 0.0
        self._authorizer = Authorizer(config, self._token_answer)
        timeout = httpx.Timeout(config.request_timeout_s, connect=config.connect_timeout_s)
        # Nothing of the environment: neither a proxy nor what is in .netrc.
        self._client = httpx.AsyncClient(verify=_trust(config), timeout=timeout, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = _is_ours.set(True)
        try:
            await self._client.aclose()
        finally:
            _is_ours.reset(token)

    def clean(self, text: str) -> str:
        """Words of the API, made fit to be told: on one line, short, with none of the secrets."""
        return clean_text(text, self._authorizer.secrets)

    def without_secrets(self, url: httpx.URL) -> httpx.URL:
        """The address without the key that the log-in adds to it."""
        return self._authorizer.stripped(url)

    def is_same_origin(self, url: httpx.URL) -> bool:
        """Whether scheme, host and port are those of the API."""
        return _origin(url) == _origin(httpx.URL(str(self._config.base_url)))

    async def fetch(self, call: Call) -> Answer:
        """The answer, status 200 to 299 or 304.

        RetriableError: none within the attempts, or a longer wait is asked for than is sat out. FatalError: refused.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._answer(call)
            except RetriableError as error:
                backoff_s = min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
                wait_s = backoff_s if error.retry_after_s is None else error.retry_after_s
                if attempt == self._attempts or wait_s > self._config.max_wait_s or wait_s > self._left_s():
                    raise
                await self._pause(wait_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _answer(self, call: Call) -> Answer:
        """One attempt, with a new token where the one at hand is no longer taken."""
        await self._until_taken(call)
        answer = await self._follow(await self._authorizer.authorized(call))
        if answer.status == 401 and self._authorizer.forget():
            answer = await self._follow(await self._authorizer.authorized(call))
        if answer.status < 400 and (wait_s := rest_s(answer.headers, answer.at)) is not None:
            self._closed_until = time.monotonic() + wait_s
        if answer.status >= 300 and not (answer.status == 304 and _CONDITIONS & call.headers.keys()):
            raise refusal(answer, self.clean)
        return answer

    async def _follow(self, call: Call) -> Answer:
        """The answer, also where the same host gives it at another address."""
        for _ in range(_MAX_REDIRECTS):
            answer = await self._send(call)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            target = call.url.join(location)
            if _origin(target) != _origin(call.url):
                raise FatalError(
                    f"{call.asked}: the API redirects to another host or scheme ({target.scheme}://{target.host}), "
                    "where no log-in is sent; if that is right, set it as base_url"
                )
            if call.method != "GET" and (answer.status not in (307, 308) or not is_same_path(call.url, target)):
                raise FatalError(f"{call.asked}: the API redirects a POST; check base_url and path")
            call = self._authorizer.keyed(replace(call, url=target)) if call.with_auth else replace(call, url=target)
        raise FatalError(f"{call.asked}: the API redirects in a circle")

    async def _send(self, call: Call) -> Answer:
        """One request on the wire and its answer, of whichever status."""
        if OVERRIDES & {name.lower() for name in call.url.params}:  # of a link or redirect, as none is configured
            raise FatalError(f"{call.asked}: the API's link asks for another method: sources are only read")
        await self._take_turn()
        began = time.monotonic()
        token = _is_ours.set(True)
        try:
            async with asyncio.timeout(min(self._config.request_timeout_s, self._left_s())):
                return await self._exchange(call)
        except TimeoutError:
            limit_s = self._config.request_timeout_s
            if time.monotonic() - began < limit_s:
                raise self._too_long() from None
            raise RetriableError(f"{call.asked}: no whole answer within {limit_s:g} s") from None
        except httpx.TransportError as error:
            # From None: the library's error holds the request, and with it the log-in.
            raise _unreachable(call, error) from None
        finally:
            _is_ours.reset(token)
            self._spent_s += time.monotonic() - began

    async def _exchange(self, call: Call) -> Answer:
        headers = httpx.Headers({"Accept-Encoding": "gzip, deflate", "User-Agent": "forecasting-mrp"})
        headers.update(self._config.headers)
        headers.update(call.headers)
        request = self._client.build_request(
            call.method, call.url, headers=headers, json=call.body, data=call.form, extensions={"trace": _check_peer}
        )
        response = await self._client.send(request, stream=True)
        try:
            # A refusal's body is only looked at for its message.
            limit = self._config.max_response_bytes if response.is_success else MIB
            return await read_answer(response, call.asked, self.without_secrets(call.url), limit)
        finally:
            await response.aclose()

    async def _token_answer(self, call: Call) -> Answer:
        return await self._follow(call)

    async def _until_taken(self, call: Call) -> None:
        """Waits where the last answer said that none is left of what may be asked for."""
        wait_s = self._closed_until - time.monotonic()
        if wait_s > min(self._config.max_wait_s, self._left_s()):
            raise RetriableError(f"{call.asked}: the API asks to wait, as its limit of requests is reached", wait_s)
        await self._pause(wait_s)

    async def _take_turn(self) -> None:
        """Waits until the next request is due by requests_per_minute."""
        if self._left_s() <= 0:
            raise self._too_long()
        if self._config.requests_per_minute is None:
            return
        await self._pause(self._next_at - time.monotonic())
        self._next_at = time.monotonic() + 60 / self._config.requests_per_minute

    async def _pause(self, wait_s: float) -> None:
        if wait_s > 0:
            self._spent_s += wait_s
            await asyncio.sleep(wait_s)

    def _too_long(self) -> RetriableError:
        return RetriableError(f"the reading took longer at the source than max_run_s, {self._config.max_run_s:g} s")

    def _left_s(self) -> float:
        return self._config.max_run_s - self._spent_s


def is_same_path(url: httpx.URL, other: httpx.URL) -> bool:
    """Whether both lead to one address, whatever their parameters: a POST confirmed for one may write at another."""
    return url.path.rstrip("/") == other.path.rstrip("/")


async def _check_peer(event: str, info: Mapping[str, Any]) -> None:
    """Refuses a forbidden address once a name has led to it, before anything is said to it."""
    if event != "connection.connect_tcp.complete":
        return
    stream = info["return_value"]
    peer = stream.get_extra_info("server_addr")
    if peer is None or is_forbidden(str(peer[0])):
        await stream.aclose()
        raise FatalError("the host's name leads to an address of the machine's own network setup, not of an API")


def _trust(config: ApiConfig) -> ssl.SSLContext:
    """Public authorities and the plant's own. FatalError: its file cannot be used."""
    if {config.base_url.scheme, getattr(config.auth, "token_url", config.base_url).scheme} == {"http"}:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is never asked; the others take a while
    context = httpx.create_ssl_context(trust_env=False)
    if config.ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(config.ca_file))
        except (OSError, ssl.SSLError):
            raise FatalError(f"ca_file: {config.ca_file} is not there or holds no PEM certificates") from None
    return context


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _unreachable(call: Call, error: httpx.TransportError) -> RetriableError | FatalError:
    """A sentence for what happened on the way; the library's own texts are known to hold no secret only in part."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return FatalError(
            f"{call.asked}: the server's certificate is not trusted; give the certificate of its authority as ca_file"
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return FatalError(f"{call.asked}: is no http or https address")
    if isinstance(error, httpx.ConnectTimeout):
        what = "takes no connection in time; is a firewall between?"
    elif isinstance(error, httpx.ConnectError):
        what = "cannot be reached; check that its name is known here and that it is running"
    elif isinstance(error, httpx.TimeoutException):
        what = "does not answer in time"
    else:
        what = "broke off its answer"
    return RetriableError(f"{call.asked}: the host {what} ({type(error).__name__})")
