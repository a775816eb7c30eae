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
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope
from sqlalchemy.ext.asyncio import AsyncSession

from actors.metrics import EVENT_CLIENTS
from actors.observe import observe_connections, start_observing
from actors.owner import Connections
from actors.snapshots import current_jobs
from fmrp_sdk import load_connectors
from serve.documentation import PageRenderPlugin
from serve.event_hub import EventHub
from serve.observation import observed
from serve.problems import EXCEPTION_HANDLERS
from serve.resources.catalogue import RESOURCES
from serve.resources.routes import make_router
from serve.resources.transfer_routes import AT_ONCE, MULTIPART_ROOM
from serve.routes import auth, demand, events, forecasts, jobs, operations, plans, queue, schedules, sources
from serve.scrape import ScrapePage
from serve.security import PUBLIC, build_auth, require_role
from settings import Settings

PREFIX = "/api/v1"
BODY_LIMIT = 1024 * 1024
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # The documentation page is plain HTML with a style sheet of its own; nothing else is ever a page.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_RAW_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

Predict = Callable[[Any, int], Awaitable[list[dict[str, Any]]]]


async def provide_session(state: State) -> AsyncIterator[AsyncSession]:
    """A session for reading; writers open their own transaction and commit it before they answer."""
    async with state.connections.sessions() as session:
        yield session


async def add_security_headers(message: Message, _scope: Scope) -> None:
    """Put the security headers on every answer; `response_headers` would miss those of middleware and of routing."""
    if message["type"] == "http.response.start":
        present = {name.lower() for name, _ in message["headers"]}
        missing = [header for header in _RAW_SECURITY_HEADERS if header[0] not in present]
        message["headers"] = [*message["headers"], *missing]


def build_app(settings: Settings, predict: Predict) -> Litestar:
    """The API under /api/v1. `predict` forwards ad-hoc series to the forecaster."""
    start_observing(settings, "api")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        connections = Connections(settings, "api")
        hub = EventHub(connections.events, partial(current_jobs, connections.sessions))
        app.state.update({"connections": connections, "hub": hub, "plugins": load_connectors()})
        app.state["scrape_page"] = ScrapePage(connections)
        app.state["transfers"] = asyncio.Semaphore(AT_ONCE)
        EVENT_CLIENTS.set_function(lambda: hub.clients)
        await hub.start()
        reporter = observe_connections(connections.engine, connections.redis, settings)
        try:
            yield
        finally:
            await reporter.stop()
            await hub.stop()
            await connections.close()

    jwt_auth = build_auth(settings)
    app = Litestar(
        route_handlers=_routes(settings),
        lifespan=[lifespan],
        state=State({"settings": settings, "auth": jwt_auth, "predict": predict}),
        dependencies={"session": Provide(provide_session)},
        on_app_init=[jwt_auth.on_app_init],
        guards=[require_role],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=_openapi(),
        cors_config=CORSConfig(allow_origins=list(settings.allowed_origins)) if settings.allowed_origins else None,
        request_max_body_size=BODY_LIMIT,
        before_send=[add_security_headers],
    )
    app.asgi_handler = observed(app.asgi_handler)
    return app


def _routes(settings: Settings) -> list[Router]:
    uploads = settings.upload_max_bytes + MULTIPART_ROOM
    api = Router(
        PREFIX,
        route_handlers=[
            auth.router,
            demand.router,
            *(make_router(resource, settings.upload_max_bytes) for resource in RESOURCES),
            forecasts.router,
            plans.router,
            jobs.router,
            queue.router,
            schedules.router,
            Router("/", route_handlers=[sources.router], request_max_body_size=uploads),
            events.router,
            operations.router,
        ],
    )
    # Balancers and monitors look at the root; documented once, under the prefix.
    at_root = Router("/", route_handlers=[operations.get_health, operations.get_metrics], include_in_schema=False)
    return [api, at_root]


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Forecasting MRP",
        version="1",
        description="From daily data to dated purchase and production orders.",
        openapi_router=Router(f"{PREFIX}/docs", route_handlers=[], opt=PUBLIC, include_in_schema=False),
        render_plugins=[PageRenderPlugin(), JsonRenderPlugin()],
    )
