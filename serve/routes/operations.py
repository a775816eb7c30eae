"""Health and metrics, for balancers and monitors."""

from __future__ import annotations

import asyncio
from typing import Literal

import asyncpg
import msgspec
from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from actors.connectors import switched_off
from actors.owner import Connections
from db.repositories import queue
from serve.problems import ERRORS
from serve.scrape import ScrapePage
from serve.security import MONITORED

# A balancer asks every few seconds: a server that hangs for longer counts as away.
ANSWER_S = 5.0
Status = Literal["ok", "degraded", "down"]


class HealthOut(msgspec.Struct, frozen=True):
    """What works. `degraded` serves everything but live events; `down` serves nothing. `dispatchers` run jobs."""

    status: Status
    database: bool
    redis: bool
    events: bool
    connectors: list[str]
    switched_off: dict[str, str]
    dispatchers: int


@get(
    "/health",
    opt=MONITORED,
    responses={**ERRORS, 503: ResponseSpec(HealthOut, generate_examples=False, description="The database is away")},
    operation_id="getHealth",
    summary="Whether the system works",
)
async def get_health(state: State) -> Response[HealthOut]:
    """200 while the database answers, 503 otherwise."""
    connections: Connections = state.connections
    dispatchers = await _count_dispatchers(connections)
    database = dispatchers is not None
    redis = await _redis_answers(connections)
    status: Status = "down" if not database else "ok" if redis and state.hub.is_alive else "degraded"
    health = HealthOut(
        status=status,
        database=database,
        redis=redis,
        events=state.hub.is_alive,
        connectors=sorted(state.plugins.connectors),
        dispatchers=dispatchers or 0,
        switched_off=switched_off(state.plugins),
    )
    return Response(health) if database else Response(health, status_code=503, headers={"Retry-After": "2"})


@get(
    "/metrics",
    opt=MONITORED,
    responses=ERRORS,
    operation_id="getMetrics",
    summary="Metrics in Prometheus' text format",
    media_type="text/plain",
)
async def get_metrics(state: State) -> Response[bytes]:
    """Counts of every process and the state of the queue; what cannot be read just now is missing. Nothing secret."""
    page: ScrapePage = state.scrape_page
    return Response(await page.get(), media_type=CONTENT_TYPE_LATEST)


async def _count_dispatchers(connections: Connections) -> int | None:
    """Dispatchers not taken for dead; None when the database does not answer."""
    try:
        async with asyncio.timeout(ANSWER_S), connections.sessions() as session:
            return len(await queue.workers(session))
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return None


async def _redis_answers(connections: Connections) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S):
            await connections.redis.ping()
    except (RedisError, OSError):
        return False
    return True


router = Router("/", route_handlers=[get_health, get_metrics], tags=["Operations"])
