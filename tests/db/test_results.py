"""Results are stored in bulk; alerts are raised, counted and resolved; a name has one champion."""

from __future__ import annotations

import asyncio
import time
from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from actors.owner import Connections
from db.models import Job, ModelVersion, PlanningRun
from db.repositories import alerts, models, plan_details, targets
from db.repositories.alerts import Finding, Settled
from ingestion.targets import TARGETS

MANY = 20_000


def found(*subjects: str, severity: str = "warning", kind: str = "stock_out") -> pl.DataFrame:
    """A finding a subject."""
    rows = [{"kind": kind, "subject": each, "severity": severity, "message": f"{each} is short"} for each in subjects]
    return pl.DataFrame(rows, schema=alerts.FINDINGS)


async def settle(connections: Connections, frame: pl.DataFrame, *kinds: str) -> Settled:
    async with connections.sessions.begin() as session:
        return await alerts.settle(session, kinds or ("stock_out",), frame)


async def stored(connections: Connections, columns: str) -> list[tuple[Any, ...]]:
    async with connections.sessions() as session:
        rows = await session.execute(text(f"SELECT {columns} FROM alert ORDER BY first_seen, subject"))
        return [tuple(row) for row in rows]


async def test_found_again_is_counted_and_gone_is_resolved(connections: Connections) -> None:
    assert await settle(connections, found("A", "B")) == Settled(2, 0, 0)
    assert await settle(connections, found("B", "C")) == Settled(1, 1, 1)
    assert await stored(connections, "subject, state, count, changed_by") == [
        ("A", "resolved", 1, "system"),
        ("B", "open", 2, None),
        ("C", "open", 1, None),
    ]
    # What was over and comes back is a new alert.
    assert await settle(connections, found("A", "B", "C")) == Settled(1, 2, 0)


async def test_other_kinds_are_left_alone(connections: Connections) -> None:
    await settle(connections, found("W", kind="overload"), "overload")
    assert await settle(connections, found("A")) == Settled(1, 0, 0)
    assert await settle(connections, found()) == Settled(0, 0, 1)
    assert await stored(connections, "subject, state") == [("W", "open"), ("A", "resolved")]


async def test_seen_stays_seen_until_it_is_worse(connections: Connections) -> None:
    await settle(connections, found("A"))
    async with connections.sessions.begin() as session:
        ids = list((await session.execute(text("SELECT id FROM alert"))).scalars())
        assert await alerts.acknowledge(session, ids, "anna") == set(ids)
        assert await alerts.acknowledge(session, ids, "bert") == set()
    await settle(connections, found("A"))
    assert await stored(connections, "state, changed_by, revision") == [("acknowledged", "anna", 3)]
    await settle(connections, found("A", severity="critical"))
    assert await stored(connections, "state, severity, count") == [("open", "critical", 3)]


async def test_one_subject_by_itself(connections: Connections) -> None:
    for finding in (Finding("warning", "three", "erp"), Finding("critical", "four", "erp"), None, None):
        async with connections.sessions.begin() as session:
            await alerts.settle_one(session, "rejected_rows", "erp items", finding)
    assert await stored(connections, "state, severity, message, count, source") == [
        ("resolved", "critical", "four", 2, "erp")
    ]


async def test_two_at_once_raise_one_alert(connections: Connections) -> None:
    await asyncio.gather(*(settle(connections, found("A", "B")) for _ in range(3)))
    assert await stored(connections, "subject, count") == [("A", 3), ("B", 3)]


async def test_the_most_severe_is_the_most_urgent(connections: Connections) -> None:
    await settle(connections, found("new", severity="info"))
    await settle(connections, pl.concat([found("new", severity="info"), found("bad", severity="critical")]))
    async with connections.sessions() as session:
        ordered = (await session.execute(text("SELECT subject FROM alert ORDER BY urgency DESC"))).scalars().all()
    assert ordered == ["bad", "new"]


async def test_a_name_has_one_champion(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        first = await models.register(session, "chronos", "chronos")
        second = await models.register(session, "chronos", "chronos", data_from=date(2025, 1, 6))
        other = await models.register(session, "theta", "statistical")
        assert (first.version, second.version, other.version) == (1, 2, 1)
        assert await models.champion(session, "chronos") is None
        await models.promote(session, first, "the first", "anna")
        await models.promote(session, second, "better by 4 %", "anna")
        assert (first.stage, second.stage, other.stage) == ("retired", "champion", "challenger")
        for version in (first, second):
            with pytest.raises(models.NotPromotable):
                await models.promote(session, version, "again", "anna")
        now = await models.champion(session, "chronos")
        assert now is not None
        assert (now.id, now.verdict, now.promoted_by) == (second.id, "better by 4 %", "anna")
        assert now.promoted_at is not None
    with pytest.raises(IntegrityError):
        async with connections.sessions.begin() as session:
            session.add(ModelVersion(name="chronos", version=3, kind="chronos", stage="champion"))


async def test_versions_registered_at_once_are_numbered_apart(connections: Connections) -> None:
    async def register() -> int:
        async with connections.sessions.begin() as session:
            return (await models.register(session, "chronos", "chronos")).version

    assert sorted(await asyncio.gather(*(register() for _ in range(3)))) == [1, 2, 3]


async def test_the_stock_parameters_of_a_large_plant_are_stored_in_seconds(connections: Connections) -> None:
    codes = [f"I{number:05d}" for number in range(MANY)]
    rows = pl.DataFrame({"code": codes, "name": codes, "kind": ["component"] * MANY, "unit": ["pcs"] * MANY})
    async with connections.sessions.begin() as session:
        empty = TARGETS["items"].schema()
        items = pl.DataFrame(schema=empty).select(rows.columns).vstack(rows)
        await targets.store(session, "items", items, feed="test")
        job = Job(kind="plan", state="done")
        session.add(job)
        await session.flush()
        run = PlanningRun(job_id=job.id, as_of=date(2026, 11, 23), horizon_days=7, summary={}, warnings=[])
        session.add(run)
        await session.flush()
        numbers = ("daily_demand_mean", "safety_stock", "reorder_point", "on_hand", "available")
        frame = pl.DataFrame({"item": codes, "lead_time_days": [5] * MANY}).with_columns(
            **{name: pl.int_range(MANY).cast(pl.Float64) for name in numbers}
        )
        started = time.perf_counter()
        await plan_details.store_stock_parameters(session, run.id, frame)
        took = time.perf_counter() - started
        count = text("SELECT count(*), count(*) FILTER (WHERE below_safety_stock) FROM stock_parameter")
        assert (await session.execute(count)).one() == (MANY, 0)
    print(f"{MANY:,} stock parameters stored in {took:.2f} s")
    assert took < 10
