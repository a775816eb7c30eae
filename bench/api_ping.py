"""A bare Litestar application behind Ray Serve: what any answer costs that has nothing to do."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, get
from ray import serve


@get("/ping")
async def ping() -> dict[str, str]:
    """Answer."""
    return {"answer": "pong"}


def build_ping() -> Litestar:
    """Built in the replica, as the API is."""
    return Litestar([ping], openapi_config=None)


@serve.deployment(num_replicas=1, max_ongoing_requests=2000, ray_actor_options={"num_cpus": 0})
@serve.ingress(build_ping)
class Ping:
    """The bare application."""


_ping: Any = Ping
application = _ping.bind()
