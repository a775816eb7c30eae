"""Builds the Litestar application. Called in the replica: nothing here is pickled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope
from sqlalchemy.ext.asyncio import AsyncSession

from actors.data_events import DataChanges
from actors.kinds import load_work_modules
from actors.metrics import EVENT_CLIENTS
from actors.observe import observe_connections, start_observing
from actors.owner import Connections
from actors.snapshots import current_jobs
from fmrp_sdk import load_connectors
from serve.access import LIMIT_HEADERS, SECURITY_COMPONENTS, SECURITY_REQUIREMENTS, AccessMiddleware
from serve.bodies import StrictRequest, refuse_null
from serve.cache import Cache
from serve.documentation import PageRenderPlugin
from serve.event_hub import EventHub
from serve.observation import observed
from serve.openapi import Contract, DocumentConfig
from serve.problems import EXCEPTION_HANDLERS
from serve.rate_limits import RateLimiter
from serve.resources.catalogue import RESOURCES
from serve.resources.results import RESULTS
from serve.resources.routes import make_router
from serve.resources.transfer_routes import AT_ONCE, MULTIPART_ROOM
from serve.routes import (
    account,
    alerts,
    api_keys,
    audit,
    auth,
    bills,
    demand,
    events,
    forecast_rows,
    forecasts,
    ingest_runs,
    jobs,
    mappings,
    models,
    operations,
    plans,
    plant_settings,
    queue,
    rejected_rows,
    schedules,
    sources,
    summary,
    users,
)
from serve.scrape import ScrapePage
from serve.security import PUBLIC, build_auth, require_role
from settings import Settings

PREFIX = "/api/v1"
BODY_LIMIT = 1024 * 1024
# A database connection that has answered within it is used without a trial.
CONNECTION_TRUSTED_S = 1.0
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # The documentation page is plain HTML with a style sheet of its own; nothing else is ever a page.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
# What a browser's script may read of an answer from another origin, beside what it always may.
EXPOSED_HEADERS = ["ETag", "Location", "Link", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining"]
EXPOSED_HEADERS += ["RateLimit-Reset", "Content-Disposition", "X-Trace-Id"]

Predict = Callable[[Any, int], Awaitable[list[dict[str, Any]]]]


async def provide_session(state: State) -> AsyncIterator[AsyncSession]:
    """A session for reading; writers open their own transaction and commit it before they answer."""
    async with state.connections.reads() as session:
        yield session


def security_headers(settings: Settings) -> Callable[[Message, Scope], Awaitable[None]]:
    """A hook that puts the security headers, and those of the request's limit, on every answer.

    `response_headers` would miss the answers of middleware and of routing.
    """
    headers = dict(SECURITY_HEADERS)
    if settings.hsts_seconds:
        headers["Strict-Transport-Security"] = f"max-age={settings.hsts_seconds}; includeSubDomains"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def add(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            missing = [header for header in raw if header[0] not in present]
            limits = scope["state"].get(LIMIT_HEADERS, [])
            message["headers"] = [*message["headers"], *missing, *limits]

    return add


def _cors(settings: Settings) -> CORSConfig | None:
    """Without origins in the settings no page of another site may call."""
    if not settings.allowed_origins:
        return None
    return CORSConfig(allow_origins=list(settings.allowed_origins), expose_headers=EXPOSED_HEADERS)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """What a replica holds while it serves, opened by the settings in the application's state."""
    settings: Settings = app.state.settings
    connections = Connections(settings, "api", trusted_s=CONNECTION_TRUSTED_S)
    hub = EventHub(connections.events, partial(current_jobs, connections.sessions))
    app.state.update({"connections": connections, "hub": hub, "plugins": load_connectors()})
    app.state["scrape_page"] = ScrapePage(connections)
    app.state["data_changes"] = DataChanges(connections.events)
    app.state["limiter"] = RateLimiter(connections.redis, settings.rate_limit_requests, settings.rate_limit_window_s)
    app.state["cache"] = cache = Cache(settings)
    app.state["transfers"] = asyncio.Semaphore(AT_ONCE)
    EVENT_CLIENTS.set_function(lambda: hub.clients)
    await hub.start()
    reporter = observe_connections(connections.engine, connections.redis, settings)
    try:
        yield
    finally:
        await reporter.stop()
        await hub.stop()
        await app.state.data_changes.close()
        await cache.close()
        await connections.close()


def build_app(settings: Settings, predict: Predict) -> Litestar:
    """The API under /api/v1. `predict` forwards ad-hoc series to the forecaster."""
    start_observing(settings, "api")
    load_work_modules(settings.work_modules)
    jwt_auth, contract = build_auth(settings), Contract()
    app = Litestar(
        route_handlers=_routes(settings),
        lifespan=[lifespan],
        state=State({"settings": settings, "auth": jwt_auth, "predict": predict}),
        dependencies={"session": Provide(provide_session)},
        middleware=[DefineMiddleware(AccessMiddleware, auth=jwt_auth)],
        guards=[require_role, refuse_null],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=_openapi(contract),
        plugins=[contract],
        request_class=StrictRequest,
        cors_config=_cors(settings),
        request_max_body_size=BODY_LIMIT,
        before_send=[security_headers(settings)],
    )
    app.asgi_handler = observed(app.asgi_handler)
    return app


def _routes(settings: Settings) -> list[Router]:
    uploads = settings.upload_max_bytes + MULTIPART_ROOM
    api = Router(
        PREFIX,
        route_handlers=[
            auth.router,
            account.router,
            users.router,
            api_keys.router,
            audit.router,
            demand.router,
            *(make_router(resource, settings.upload_max_bytes) for resource in (*RESOURCES, *RESULTS)),
            bills.router,
            plant_settings.router,
            forecast_rows.router,
            models.router,
            alerts.router,
            summary.router,
            forecasts.router,
            plans.router,
            jobs.router,
            queue.router,
            schedules.router,
            sources.router,
            rejected_rows.router,
            Router("/", route_handlers=[ingest_runs.router, mappings.router], request_max_body_size=uploads),
            events.router,
            operations.router,
        ],
    )
    # Balancers and monitors look at the root; documented once, under the prefix.
    at_root = Router("/", route_handlers=[operations.get_health, operations.get_metrics], include_in_schema=False)
    return [api, at_root]


def _openapi(contract: Contract) -> DocumentConfig:
    return DocumentConfig(
        title="Forecasting MRP",
        version="1",
        description="From daily data to dated purchase and production orders.",
        openapi_router=Router(f"{PREFIX}/docs", route_handlers=[], opt=PUBLIC, include_in_schema=False),
        render_plugins=[PageRenderPlugin(), JsonRenderPlugin()],
        contract=contract,
        use_handler_docstrings=True,
        components=SECURITY_COMPONENTS,
        security=SECURITY_REQUIREMENTS,
    )
