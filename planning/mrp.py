"""Multi-level netting by low-level code (Orlicky, Material Requirements Planning)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planning.arrays import QUANTITY_TOLERANCE, BoolArray, FloatArray, IntArray, totals_by_cell
from planning.bom import Structure
from planning.lots import LotForLot, LotRule

_LINES_AT_ONCE = 2048  # a block of contributions stays in the processor's cache


@dataclass(frozen=True)
class Terms:
    """How the items of one level are replenished, all [items of the level].

    `lead_time` in working days; `minimum` and `multiple` in the item's unit, 0 for none.
    """

    lead_time: IntArray
    minimum: FloatArray
    multiple: FloatArray
    safety_stock: FloatArray


Replenishment = Callable[[IntArray, FloatArray], Terms]
"""Terms for item rows, given their gross requirements [buckets, rows]: the supplier may depend on the need."""


@dataclass(frozen=True)
class MrpRecords:
    """The MRP record of every item: matrices [buckets, items], vectors [items].

    `receipts` lie in the bucket of the need even where the lead time says that it cannot be met; `releases` that would
    lie before today are kept in bucket 0. `main_line` is the bill line that brings the greatest dependent requirement
    of the cell, -1 where there is none.
    """

    gross: FloatArray
    net: FloatArray
    receipts: FloatArray
    releases: FloatArray
    projected_on_hand: FloatArray
    main_line: npt.NDArray[np.int32]
    lead_time: IntArray
    minimum: FloatArray
    multiple: FloatArray
    safety_stock: FloatArray


def explode(
    structure: Structure,
    independent: FloatArray,
    scheduled_receipts: FloatArray,
    available: FloatArray,
    replenishment: Replenishment,
    plannable: BoolArray | None = None,
    on_level: Callable[[int], None] | None = None,
) -> MrpRecords:
    """Plan all items, level by level: gross, net, lot, receipt, release, then the components' gross.

    `independent` and `scheduled_receipts` are [buckets, items], `available` (on hand, not reserved, not quarantined;
    may be negative) and `plannable` [items]. Items that are not plannable get a record but no planned order. Scheduled
    receipts are taken as they stand: the components of open production orders count as issued and are not exploded.
    """
    can_order = np.ones(independent.shape[1], dtype=np.bool_) if plannable is None else plannable
    records = _empty_records(independent)
    for level, rows in enumerate(structure.levels):
        add_dependent_requirements(structure, level, records.releases, records.gross, records.main_line)
        gross = records.gross[:, rows]
        terms = replenishment(rows, gross)
        lots = LotForLot(terms.minimum, terms.multiple)
        net, receipts, projected = net_items(
            gross, scheduled_receipts[:, rows], available[rows], terms.safety_stock, lots, can_order[rows]
        )
        records.net[:, rows] = net
        records.receipts[:, rows] = receipts
        records.projected_on_hand[:, rows] = projected
        records.releases[:, rows] = release(receipts, terms.lead_time)
        records.lead_time[rows] = terms.lead_time
        records.minimum[rows] = terms.minimum
        records.multiple[rows] = terms.multiple
        records.safety_stock[rows] = terms.safety_stock
        if on_level is not None:
            on_level(level)
    return records


def net_items(
    gross: FloatArray,
    scheduled_receipts: FloatArray,
    available: FloatArray,
    safety_stock: FloatArray,
    lots: LotRule,
    can_order: BoolArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Net requirements, planned order receipts and projected on hand, each [buckets, items].

    Net requirement = gross + safety stock - on hand - scheduled receipts, never below 0, where on hand carries the
    planned receipts of the buckets before: a shortage is ordered once. A deficit of safety stock is a net requirement
    of bucket 0.
    """
    net = np.zeros_like(gross)
    receipts = np.zeros_like(gross)
    projected = np.empty_like(gross)
    on_hand = available.astype(np.float64)
    for bucket in range(len(gross)):
        balance = on_hand + scheduled_receipts[bucket] - gross[bucket]
        shortage = safety_stock - balance
        shortage[shortage <= QUANTITY_TOLERANCE] = 0.0
        shortage[~can_order] = 0.0
        lot = lots.quantities(bucket, shortage)
        on_hand = balance + lot
        net[bucket], receipts[bucket], projected[bucket] = shortage, lot, on_hand
    return net, receipts, projected


def release(receipts: FloatArray, lead_time: IntArray) -> FloatArray:
    """Planned order releases: receipts moved back by the lead time, those before today kept in bucket 0."""
    buckets, count = receipts.shape
    bucket, row = np.nonzero(receipts)
    released = np.maximum(bucket - lead_time[row], 0)
    return totals_by_cell(released, row, receipts[bucket, row], buckets, count)


def add_dependent_requirements(
    structure: Structure, level: int, releases: FloatArray, gross: FloatArray, main_line: npt.NDArray[np.int32]
) -> None:
    """Add to `gross` of a level's items what the releases of their parents need, and note each cell's main line.

    Need = parent release x quantity per / (1 - scrap share), in the bucket of the parent's release, for lines effective
    on that day. Writes into `gross` and `main_line`.
    """
    buckets = np.arange(len(gross))[:, None]
    for lines, starts in structure.segments(level, _LINES_AT_ONCE):
        need = releases[:, structure.parent[lines]] * structure.rate[lines]
        first, last = structure.first_bucket[lines], structure.last_bucket[lines]
        limited = (first > 0) | (last < len(gross) - 1)
        if limited.any():
            need[:, limited] *= (buckets >= first[limited]) & (buckets <= last[limited])
        component = structure.component[lines][starts]
        gross[:, component] += np.add.reduceat(need, starts, axis=1)
        main_line[:, component] = _greatest_line(need, starts, lines.start)


def _greatest_line(need: FloatArray, starts: IntArray, first_line: int) -> npt.NDArray[np.int32]:
    """Line with the greatest need per bucket and component, the first of equals; -1 where nothing is needed."""
    greatest = np.maximum.reduceat(need, starts, axis=1)
    width = np.diff(np.r_[starts, need.shape[1]])
    beyond = np.int32(first_line + need.shape[1])
    line = np.arange(first_line, beyond, dtype=np.int32)
    candidates = np.where(need == np.repeat(greatest, width, axis=1), line, beyond)
    return np.where(greatest > 0, np.minimum.reduceat(candidates, starts, axis=1), np.int32(-1))


def _empty_records(independent: FloatArray) -> MrpRecords:
    """Records to be filled level by level; gross starts as the independent demand."""
    shape = independent.shape
    return MrpRecords(
        gross=independent.astype(np.float64, copy=True),
        net=np.zeros(shape),
        receipts=np.zeros(shape),
        releases=np.zeros(shape),
        projected_on_hand=np.zeros(shape),
        main_line=np.full(shape, -1, dtype=np.int32),
        lead_time=np.zeros(shape[1], dtype=np.int64),
        minimum=np.zeros(shape[1]),
        multiple=np.zeros(shape[1]),
        safety_stock=np.zeros(shape[1]),
    )
