"""Supplier choice: one supplier for each purchased item, and the terms that come with it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from planning.arrays import FloatArray, IntArray
from planning.lots import with_minimum_and_multiple


@dataclass(frozen=True)
class SupplierTerms:
    """Terms of active suppliers, sorted by item row, then by priority; all [terms].

    `minimum`, `multiple`, `lead_time` (working days) are already those that apply: the term's, else the item's.
    `price` and `lead_time` are NaN where neither is known.
    """

    row: IntArray
    supplier: pl.Series
    price: FloatArray
    minimum: FloatArray
    multiple: FloatArray
    lead_time: FloatArray


def first_terms(terms: SupplierTerms, rows: IntArray) -> IntArray:
    """Index of the highest-priority active term of each item row, -1 where there is none, [rows]."""
    if not len(terms.row):
        return np.full(len(rows), -1, dtype=np.int64)
    at = np.searchsorted(terms.row, rows)
    found = at < len(terms.row)
    found[found] = terms.row[at[found]] == rows[found]
    return np.where(found, at, -1).astype(np.int64)


def choose_terms(terms: SupplierTerms, rows: IntArray, need: FloatArray) -> IntArray:
    """Index of the term by which each item row is bought, -1 where there is none, [rows].

    The highest-priority supplier, unless its minimum is above the need: then the supplier whose whole lot is cheapest,
    the higher priority where two cost the same. `need` is the net need over the horizon, so a minimum that later
    demand uses up drives nobody to the next supplier. A supplier without price cannot win on cost.
    """
    first = first_terms(terms, rows)
    needed = np.zeros(int(max(rows.max(initial=-1), terms.row.max(initial=-1))) + 1)
    needed[rows] = need
    wanted = needed[terms.row]
    lot = with_minimum_and_multiple(wanted, terms.minimum, terms.multiple)
    cost = np.where(np.isnan(terms.price), np.inf, lot * terms.price)
    by_cost = np.lexsort((np.arange(len(cost)), cost, terms.row))
    chosen = first.copy()
    has_term = np.flatnonzero(first >= 0)
    too_much = has_term[terms.minimum[first[has_term]] > need[has_term]]
    chosen[too_much] = by_cost[first[too_much]]  # both orders keep items apart, so an item's terms start at one index
    return chosen
