"""Typed asynchronous client of the REST API. Every call is made with the token of one user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import msgspec

from dashboards import api_types as t

T = TypeVar("T")
Params = Mapping[str, str | int | None]
# One socket a process, passed on to all its sessions, so it may be quicker than other clients.
PACE_MS = 40


class ApiProblem(Exception):
    """The API refused a request, or could not be reached (status 0). `detail` is meant to be read by a person."""

    def __init__(self, status: int, title: str, detail: str = "", errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(status, title, detail, errors)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors or []

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """Detail (or title), then the named fields, as one line of text."""
        text = self.detail or self.title
        fields = "; ".join(f"{e.get('field', '')}: {e.get('message', '')}".strip(": ") for e in self.errors)
        return f"{text} ({fields})" if fields else text


def problem_of(response: httpx.Response) -> ApiProblem:
    """ApiProblem of a refused response, also when its body is not problem+json (a proxy's error page, say)."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiProblem(response.status_code, f"The server answered {response.status_code}.")
    errors = body.get("errors")
    return ApiProblem(
        response.status_code,
        str(body.get("title") or f"The server answered {response.status_code}."),
        str(body.get("detail") or ""),
        [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else None,
    )


def http_client(timeout_s: float = 30.0) -> httpx.AsyncClient:
    """Connection pool for one dashboard process. Proxy variables are ignored: the API is an internal address."""
    return httpx.AsyncClient(timeout=httpx.Timeout(timeout_s, connect=5.0), trust_env=False)


class ApiClient:
    """Calls the API at `base_url` (with /api/v1) as the owner of `token`; raises ApiProblem.

    A token that outlives its minutes is given as a function that has it renewed.
    """

    def __init__(
        self, http: httpx.AsyncClient, base_url: str, token: str | Callable[[], Awaitable[str]] | None = None
    ) -> None:
        self._http = http
        self.base_url = base_url.rstrip("/")
        self._token = token

    def acting_as(self, token: str) -> ApiClient:
        """The same API as the owner of another token."""
        return ApiClient(self._http, self.base_url, token)

    async def _headers(self) -> dict[str, str]:
        token = await self._token() if callable(self._token) else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _send(self, method: str, path: str, params: Params | None = None, **kwargs: Any) -> httpx.Response:
        query = {k: v for k, v in (params or {}).items() if v is not None and v != ""}
        headers = await self._headers() | kwargs.pop("headers", {})
        try:
            response = await self._http.request(method, self.base_url + path, params=query, headers=headers, **kwargs)
        except httpx.TimeoutException as error:
            raise ApiProblem(0, "The planning server did not answer in time.") from error
        except httpx.HTTPError as error:
            raise ApiProblem(0, "The planning server cannot be reached.") from error
        if response.status_code == 404 and "json" not in response.headers.get("content-type", ""):
            # The proxy in front of the API answers so while the API behind it is starting.
            raise ApiProblem(0, "The planning server is starting.")
        if response.status_code >= 400:
            raise problem_of(response)
        return response

    async def _read(self, into: type[T], method: str, path: str, params: Params | None = None, **kwargs: Any) -> T:
        response = await self._send(method, path, params, **kwargs)
        try:
            # Not strict: ids may be numbers and counts may be floats without the page breaking.
            return msgspec.convert(msgspec.json.decode(response.content), into, strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise ApiProblem(502, "The planning server's answer was not understood.", str(error)) from error

    async def login(self, email: str, password: str, browser: str = "") -> t.Login:
        """Exchange email and password for tokens; ApiProblem 401 when they do not match. `browser` names the log-in."""
        body = {"email": email, "password": password}
        headers = {"User-Agent": browser} if browser else {}
        return await self._read(t.Login, "POST", "/auth/login", json=body, headers=headers)

    async def refresh(self, refresh_token: str) -> t.Login:
        """Exchange a refresh token for the next pair; ApiProblem 401 when it is no longer good."""
        return await self._read(t.Login, "POST", "/auth/refresh", json={"refresh_token": refresh_token})

    async def log_out(self, refresh_token: str) -> None:
        """End the log-in of a refresh token."""
        await self._send("POST", "/auth/logout", json={"refresh_token": refresh_token})

    async def change_password(self, old: str, new: str) -> t.Login:
        """Choose another password; the answer is a new log-in, the only one that goes on."""
        return await self._read(t.Login, "PUT", "/auth/password", json={"old_password": old, "new_password": new})

    async def me(self) -> t.User:
        """The owner of the token."""
        return await self._read(t.User, "GET", "/auth/me")

    async def event_ticket(self) -> str:
        """Single-use ticket that opens the event stream; valid for 30 s."""
        answer = await self._read(dict[str, Any], "POST", "/events/ticket")
        return str(answer["ticket"])

    def events_url(self, ticket: str, after: str | None) -> str:
        """WebSocket address of the jobs topic, resuming after an event id; batches, `PACE_MS` apart under load."""
        parts = urlsplit(self.base_url)
        query = f"ticket={quote(ticket, safe='')}&topic=jobs&frames=batch&pace_ms={PACE_MS}"
        query += f"&after={quote(after, safe='')}" if after else ""
        scheme = "wss" if parts.scheme == "https" else "ws"
        return urlunsplit((scheme, parts.netloc, parts.path + "/events", query, ""))

    async def jobs(self, limit: int = 50, **filters: str | None) -> t.Paged[t.Job]:
        """Newest jobs first; filters: state, kind, parent_id, cursor."""
        return await self._read(t.Paged[t.Job], "GET", "/jobs", {"limit": limit, **filters})

    async def start_job(self, kind: str, idempotency_key: str) -> t.Job:
        """Ask for a job; the same key twice gives the same job."""
        body = {"kind": kind, "parameters": {}}
        return await self._read(t.Job, "POST", "/jobs", json=body, headers={"Idempotency-Key": idempotency_key})

    async def cancel_job(self, job_id: str) -> None:
        """Ask a waiting or running job to stop."""
        await self._send("POST", f"/jobs/{quote(job_id, safe='')}/cancel")

    async def retry_job(self, job_id: str) -> None:
        """Put a failed, held or cancelled job back into the queue."""
        await self._send("POST", f"/jobs/{quote(job_id, safe='')}/retry")

    async def traceback(self, job_id: str) -> str | None:
        """Traceback of a job's last failure, where there is one."""
        return (await self._read(t.JobDetail, "GET", f"/jobs/{quote(job_id, safe='')}")).traceback

    async def retry_dead_jobs(self) -> None:
        """Put all failed and held jobs back into the queue."""
        await self._send("POST", "/jobs/retry-dead", {"limit": 500})

    async def latest_plan(self) -> t.Plan | None:
        """The newest plan, None before the first."""
        return await _none_when_missing(self._read(t.Plan, "GET", "/plans/latest"))

    async def orders(self, params: Params) -> t.Paged[t.Order]:
        """Orders of the newest plan, most urgent first; an empty page before the first plan."""
        page = await _none_when_missing(self._read(t.Paged[t.Order], "GET", "/plans/latest/orders", params))
        return page or t.Paged(items=[], total=0)

    @asynccontextmanager
    async def orders_csv(self, params: Params) -> AsyncIterator[httpx.Response]:
        """The same orders as CSV, streamed; the caller iterates the response's bytes."""
        query = {k: v for k, v in params.items() if v is not None and v != ""}
        url, headers = self.base_url + "/plans/latest/orders.csv", await self._headers()
        try:
            async with self._http.stream("GET", url, params=query, headers=headers) as response:
                if response.status_code >= 400:
                    await response.aread()
                    raise problem_of(response)
                yield response
        except httpx.HTTPError as error:
            raise ApiProblem(0, "The planning server cannot be reached.") from error

    async def latest_forecast(self) -> t.ForecastRun | None:
        """The newest forecast run, None before the first."""
        return await _none_when_missing(self._read(t.ForecastRun, "GET", "/forecasts/latest"))

    async def series(self, search: str = "", limit: int = 50, cursor: str | None = None) -> t.Paged[t.Series]:
        """Forecast series of the newest run; an empty page before the first."""
        params: Params = {"search": search, "limit": limit, "cursor": cursor}
        page = await _none_when_missing(self._read(t.Paged[t.Series], "GET", "/forecasts/latest/series", params))
        return page or t.Paged(items=[], total=0)

    async def item_forecast(self, item: str) -> t.ItemForecast | None:
        """Newest forecast of one item, None when it has none."""
        path = f"/forecasts/latest/items/{quote(item, safe='')}"
        return await _none_when_missing(self._read(t.ItemForecast, "GET", path))

    async def weekly_demand(self, item: str) -> t.Demand:
        """Whole demand history of one item, in weeks."""
        path = f"/demand/{quote(item, safe='')}"
        demand = await _none_when_missing(self._read(t.Demand, "GET", path, {"grain": "week"}))
        return demand or t.Demand(item=item)

    async def sources(self) -> list[t.Source]:
        """Every source."""
        return await self._list(t.Source, "/sources")

    async def source_runs(self, code: str) -> list[t.SourceRun]:
        """Last runs of one source, newest first."""
        return await self._list(t.SourceRun, f"/sources/{quote(code, safe='')}/runs")

    async def rejected_rows(self, run_id: str) -> t.Paged[t.RejectedRow]:
        """First rejected rows of a run."""
        path = f"/sources/runs/{quote(run_id, safe='')}/rejected-rows"
        return await self._read(t.Paged[t.RejectedRow], "GET", path, {"limit": 200})

    async def mappings(self) -> list[t.Mapping]:
        """Mappings an upload may name."""
        return await self._list(t.Mapping, "/sources/mappings")

    async def upload(self, filename: str, content: bytes, mapping: str) -> t.Job:
        """Hand a file over for ingestion under a mapping; the answer is its job."""
        files = {"file": (filename, content, "application/octet-stream")}
        return await self._read(t.Job, "POST", "/sources/uploads", files=files, data={"mapping": mapping})

    async def _list(self, into: type[T], path: str) -> list[T]:
        page = await self._read(t.Paged[into], "GET", path)  # type: ignore[valid-type]
        return list(page.items)


async def _none_when_missing(call: Awaitable[T]) -> T | None:
    """Await a call and turn 404 into None: nothing made yet is a state of the page, not an error."""
    try:
        return await call
    except ApiProblem as problem:
        if problem.status == 404:
            return None
        raise
