"""What a planning run says beside its orders: stock parameters, action messages, pegging. Stored in bulk, by COPY.

Frames name items by code; planned orders by `rank`, their place in the run's list of orders, which must be stored.
"""

from __future__ import annotations

import uuid
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from db.copy import stage

_S, _F, _I, _D = pl.String, pl.Float64, pl.Int64, pl.Date

STOCK_PARAMETERS: dict[str, Any] = {
    **{"item": _S, "abc": _S, "xyz": _S, "demand_class": _S, "service_level": _F},
    **{"daily_demand_mean": _F, "daily_demand_sd": _F, "lead_time_days": _I, "safety_stock": _F, "reorder_point": _F},
    **{"eoq": _F, "on_hand": _F, "available": _F, "coverage_days": _F, "turnover": _F, "stock_out_on": _D},
    "stock_value": _F,
}
ACTION_MESSAGES: dict[str, Any] = {
    **{"kind": _S, "item": _S, "open_order": _S, "order": _I, "from_date": _D, "to_date": _D},
    **{"from_quantity": _F, "to_quantity": _F, "priority": _S, "cause": _S},
}
PEGGING: dict[str, Any] = {
    **{"item": _S, "supply_kind": _S, "supply": _S, "order": _I, "demand_kind": _S, "demand": _S},
    **{"demand_order": _I, "quantity": _F, "due_date": _D},
}


async def store_stock_parameters(session: AsyncSession, run_id: uuid.UUID, frame: pl.DataFrame) -> None:
    """Store one row an item, in the columns of STOCK_PARAMETERS."""
    await stage(session, "staged", _columns(frame, STOCK_PARAMETERS))
    names = [name for name in STOCK_PARAMETERS if name != "item"]
    await session.execute(
        text(
            f"INSERT INTO stock_parameter (run_id, item_id, {', '.join(names)})"
            f" SELECT :run_id, i.id, {', '.join(f's.{name}' for name in names)}"
            " FROM staged s JOIN item i ON i.code = s.item"
        ),
        {"run_id": run_id},
    )


async def store_action_messages(session: AsyncSession, run_id: uuid.UUID, frame: pl.DataFrame) -> None:
    """Store messages, most urgent first as they come, in the columns of ACTION_MESSAGES."""
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank")
    await stage(session, "staged", _with_ids(_columns(frame, ACTION_MESSAGES).with_columns(rank)))
    await session.execute(
        text(
            "INSERT INTO action_message (id, run_id, rank, kind, item_id, open_order, order_id, from_date, to_date,"
            " from_quantity, to_quantity, priority, cause)"
            " SELECT s.id::uuid, :run_id, s.rank, s.kind, i.id, s.open_order, o.id, s.from_date, s.to_date,"
            " s.from_quantity, s.to_quantity, s.priority, s.cause FROM staged s JOIN item i ON i.code = s.item"
            ' LEFT JOIN planned_order o ON o.run_id = :run_id AND o.rank = s."order"'
        ),
        {"run_id": run_id},
    )


async def store_pegging(session: AsyncSession, run_id: uuid.UUID, frame: pl.DataFrame) -> None:
    """Store which supply is for which demand, in the columns of PEGGING."""
    await stage(session, "staged", _with_ids(_columns(frame, PEGGING)))
    await session.execute(
        text(
            "INSERT INTO pegging (id, run_id, item_id, supply_kind, supply, order_id, demand_kind, demand,"
            " demand_order_id, quantity, due_date)"
            " SELECT s.id::uuid, :run_id, i.id, s.supply_kind, s.supply, o.id, s.demand_kind, s.demand, d.id,"
            " s.quantity, s.due_date FROM staged s JOIN item i ON i.code = s.item"
            ' LEFT JOIN planned_order o ON o.run_id = :run_id AND o.rank = s."order"'
            " LEFT JOIN planned_order d ON d.run_id = :run_id AND d.rank = s.demand_order"
        ),
        {"run_id": run_id},
    )


def _columns(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    """Exactly the columns of the schema; one that the frame lacks is null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )


def _with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    ids = pl.Series("id", [str(uuid7()) for _ in range(frame.height)], dtype=pl.String)
    return frame.with_columns(ids)
