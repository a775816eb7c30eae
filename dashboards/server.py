"""The HTTP server of the dashboard: pages, log-in, health and downloads."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import panel as pn
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from dashboards.api_client import ApiClient, ApiProblem, http_client
from dashboards.auth import COOKIE, ApiAuthProvider, signed_in_of
from dashboards.feed import Feed
from dashboards.sessions import SessionStore
from dashboards.shell.app import Process, build_app
from dashboards.shell.navigation import PLACES
from dashboards.state import JobBoard

logger = logging.getLogger(__name__)

_LARGEST_MESSAGE = 100 * 2**20
_CSV_FILTERS = ("kind", "priority", "supplier", "search")


@dataclass(frozen=True)
class Options:
    """How the dashboard is served; `allow_origins` are further HOST:PORT values browsers may come from."""

    api_url: str
    cookie_secret: str
    host: str = "127.0.0.1"
    port: int = 3000
    allow_origins: tuple[str, ...] = ()

    @property
    def origins(self) -> list[str]:
        """All HOST:PORT values the WebSocket accepts."""
        everywhere = {"0.0.0.0", "::"}  # noqa: S104  (compared with, never bound to by default)
        own = {
            f"localhost:{self.port}",
            f"127.0.0.1:{self.port}",
            *(() if self.host in everywhere else (f"{self.host}:{self.port}",)),
        }
        return sorted(own | set(self.allow_origins))


class LivenessHandler(RequestHandler):  # type: ignore[misc]
    """Says that this process answers; it asks nobody else."""

    def get(self) -> None:
        """200 with {"status": "ok"}."""
        self.write({"status": "ok"})


class OrdersCsvHandler(RequestHandler):  # type: ignore[misc]
    """The order list as a file, read from the API as the user and passed through unchanged."""

    def initialize(self, process: Process) -> None:
        """Take the process the log-ins live in."""
        self._process = process

    async def get(self) -> None:
        """Stream the CSV; to the log-in page without a log-in."""
        signed_in = signed_in_of(self, self._process.sessions)
        if signed_in is None:
            self.redirect("/login?next=/purchasing")
            return
        params = {name: self.get_query_argument(name, "") for name in _CSV_FILTERS}
        try:
            async with self._process.client_for(signed_in).orders_csv(params) as response:
                self.set_header("Content-Type", "text/csv; charset=utf-8")
                self.set_header("Content-Disposition", 'attachment; filename="orders.csv"')
                self.set_header("X-Content-Type-Options", "nosniff")
                self.set_header("Cache-Control", "no-store")
                async for chunk in response.aiter_bytes():
                    self.write(chunk)
                    await self.flush()
        except ApiProblem as problem:
            if problem.status == 401:
                self._process.sessions.remove(signed_in.key)
                self.redirect("/login?expired=1&next=/purchasing")
                return
            self.set_status(problem.status or 503)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.clear_header("Content-Disposition")
            self.write(problem.sentence)


class DashboardServer:
    """A started dashboard; made and stopped inside a running event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._http = http_client()
        self.process = Process(self._http, options.api_url, SessionStore(), JobBoard())
        self._feed = Feed(self.process.board, self.process.sessions, self.process.client_for)
        self._feed_task: asyncio.Task[None] | None = None
        self._server: Any = None

    def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        pn.extension(notifications=False, reconnect="prompt")
        app = build_app(self.process)
        # Cookies stay out of the token Bokeh writes into the page: script must not be able to read the log-in.
        pn.config.cookie_secret = self._options.cookie_secret
        self._server = pn.io.server.get_server(
            {place.path: app for place in PLACES},
            port=self._options.port,
            address=self._options.host,
            websocket_origin=self._options.origins,
            loop=IOLoop.current(),
            title="Forecasting MRP",
            cookie_secret=self._options.cookie_secret,
            auth_provider=ApiAuthProvider(self.process.sessions, ApiClient(self._http, self._options.api_url)),
            exclude_cookies=[COOKIE],
            exclude_headers=["Cookie", "Authorization"],
            websocket_max_message_size=_LARGEST_MESSAGE,
            extra_patterns=[
                (r"/liveness", LivenessHandler),
                (r"/download/orders\.csv", OrdersCsvHandler, {"process": self.process}),
            ],
            start=False,
            show=False,
        )
        self._server.start()
        self._feed_task = asyncio.create_task(self._feed.run())
        logger.info(
            "Dashboard on http://%s:%s, API at %s", self._options.host, self._options.port, self._options.api_url
        )

    async def stop(self) -> None:
        """End the feed, close the sockets and the connection pool."""
        if self._feed_task is not None:
            self._feed_task.cancel()
            await asyncio.gather(self._feed_task, return_exceptions=True)
        if self._server is not None:
            self._server.stop()
        await self._http.aclose()
        logger.info("Dashboard stopped")
