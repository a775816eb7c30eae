"""From bill-of-material frames to the structure that is exploded; what cannot be exploded is named item by item."""

import numpy as np
import polars as pl

from planning.arrays import BoolArray, IntArray
from planning.bom import Structure, build_structure, effective_buckets, find_cycles
from planning.calendar import Calendar
from planning.inputs import Findings
from planning.items import ItemTable, to_floats


def read_structure(
    bom_lines: pl.DataFrame, items: ItemTable, calendar: Calendar, findings: Findings
) -> tuple[Structure, BoolArray, BoolArray]:
    """The structure, which items are parents in the horizon, and which lie on a cycle (both [items]).

    Lines with an item that is not in the master, a quantity not above 0 or a scrap share outside [0, 1) are named and
    left out. The lines of items on a cycle are named and left out too: their own need cannot be known, while the items
    above and below them are planned.
    """
    sound = _sound_lines(bom_lines, items, findings)
    parent, component = sound["parent_row"].to_numpy(), sound["row"].to_numpy()
    first, last = effective_buckets(
        _first_effective(sound["valid_from"], calendar), _last_effective(sound["valid_to"], calendar), calendar.buckets
    )
    effective = first <= last
    parent, component, first, last = parent[effective], component[effective], first[effective], last[effective]
    rate = to_floats(sound["rate"])[effective]
    is_parent = np.isin(np.arange(items.count), parent)
    on_cycle = _name_cycles(parent, component, items, findings)
    kept = ~on_cycle[parent]
    structure = build_structure(
        parent[kept], component[kept], rate[kept], first[kept], last[kept], items.codes.to_list()
    )
    return structure, is_parent, on_cycle


def _sound_lines(bom_lines: pl.DataFrame, items: ItemTable, findings: Findings) -> pl.DataFrame:
    """Lines that can be exploded, with `row` (component), `parent_row` and `rate`."""
    lines = bom_lines.with_columns(pl.col("scrap_share").fill_null(0.0))
    quantity, scrap = pl.col("quantity_per"), pl.col("scrap_share")
    bad_quantity = ~(quantity.is_finite() & (quantity > 0)).fill_null(False)
    bad_scrap = ~((scrap >= 0) & (scrap < 1)).fill_null(False)
    findings.name(lines.filter(bad_quantity)["parent"], "quantity_per", "not above 0: bill line left out")
    findings.name(lines.filter(bad_scrap)["parent"], "scrap_share", "not from 0 to below 1: bill line left out")
    lines = lines.filter(~bad_quantity & ~bad_scrap).with_columns(rate=quantity / (1.0 - scrap))
    lines = items.locate(lines, "parent", "bom_lines", findings).rename({"row": "parent_row"})
    return items.locate(lines, "component", "bom_lines", findings)


def _name_cycles(parent: IntArray, component: IntArray, items: ItemTable, findings: Findings) -> BoolArray:
    """Name every item on a cycle with a way round; returns which items those are."""
    on_cycle = np.zeros(items.count, dtype=np.bool_)
    for cycle in find_cycles(parent, component):
        path = " > ".join(items.code_list(np.array(cycle.path)))
        members = np.array(cycle.members, dtype=np.int64)
        findings.name(items.code_list(members), "bom_lines", f"on the cycle {path}: not planned")
        on_cycle[members] = True
    return on_cycle


def _first_effective(valid_from: pl.Series, calendar: Calendar) -> IntArray:
    """Position of the first bucket from a date on; 0 without a date."""
    at = np.searchsorted(calendar.days, valid_from.to_numpy().astype("datetime64[D]"), side="left")
    return np.where(valid_from.is_null().to_numpy(), 0, at).astype(np.int64)


def _last_effective(valid_to: pl.Series, calendar: Calendar) -> IntArray:
    """Position of the last bucket up to and with a date; the last one of all without a date."""
    at = np.searchsorted(calendar.days, valid_to.to_numpy().astype("datetime64[D]"), side="right") - 1
    return np.where(valid_to.is_null().to_numpy(), calendar.buckets - 1, at).astype(np.int64)
