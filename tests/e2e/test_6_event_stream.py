"""Server-sent events through the real proxy: passed on as they come, and forgotten with their client."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.data_changes import DataChange
from actors.events import DataChanged
from actors.owner import Connections
from cluster.local.stack import Stack

pytestmark = pytest.mark.stack


async def open_clients(http: httpx.AsyncClient) -> float:
    """Open event clients as the metrics page tells."""
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == "fmrp_event_clients")


async def test_the_proxy_passes_events_on_at_once_and_a_client_that_goes_is_forgotten(
    stack: Stack, connections: Connections
) -> None:
    assert stack.first_password is not None
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=20) as http:
        body = {"email": stack.settings.admin_email, "password": stack.first_password}
        token = (await http.post("/auth/login", json=body)).json()["access_token"]
        ticket = (await http.post("/events/ticket", headers={"Authorization": f"Bearer {token}"})).json()["ticket"]
        before = await open_clients(http)
        query = {"ticket": ticket, "topic": ["data:items", "jobs"]}
        async with (
            httpx.AsyncClient(base_url=stack.api_url, timeout=20) as reader,
            reader.stream("GET", "/events/stream", params=query) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            async with asyncio.timeout(10):
                while "snapshot" not in await anext(lines):
                    pass
            for number in range(5):
                began = time.monotonic()
                await connections.events.publish(DataChanged(data=DataChange.of("items", [f"item-{number}"])))
                async with asyncio.timeout(10):
                    while f"item-{number}" not in await anext(lines):
                        pass
                assert time.monotonic() - began < 5.0
            assert (await reader.get("/events/stream", params={"ticket": ticket})).status_code == 401
        async with asyncio.timeout(30):
            while await open_clients(http) > before:  # noqa: ASYNC110 - the page is all that is to be seen from outside
                await asyncio.sleep(0.2)
