"""Lot sizing: how much is ordered at once when there is a shortage.

A rule answers, bucket by bucket, for all items of a level at once. Rules that look ahead (period order quantity,
Silver-Meal, Wagner-Whitin) are built over a level's requirements and keep to the same protocol; the item's minimum and
multiple come after every rule, in that order.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from planning.arrays import FloatArray

_WHOLE_LOTS_TOLERANCE = 1e-9


class LotRule(Protocol):
    """One lot-sizing rule over the items of a level."""

    def quantities(self, bucket: int, shortage: FloatArray) -> FloatArray:
        """Planned order receipts, [items], at least `shortage` and 0 where that is 0."""


@dataclass(frozen=True)
class LotForLot:
    """Order exactly the shortage, raised to `minimum`, then rounded up to `multiple` (0: none of either), [items]."""

    minimum: FloatArray
    multiple: FloatArray

    def quantities(self, bucket: int, shortage: FloatArray) -> FloatArray:  # noqa: ARG002 - part of the protocol
        """Planned order receipts of a bucket; lot-for-lot looks neither back nor ahead."""
        return with_minimum_and_multiple(shortage, self.minimum, self.multiple)


def with_minimum_and_multiple(quantity: FloatArray, minimum: FloatArray, multiple: FloatArray) -> FloatArray:
    """Raise quantities above 0 to the minimum, then round up to whole multiples; 0 stays 0."""
    lot = np.where(quantity > 0, np.maximum(quantity, minimum), 0.0)
    rounded = multiple > 0
    if rounded.any():
        step = np.where(rounded, multiple, 1.0)
        # 0.3 / 0.1 is a hair over 3: without the tolerance a met multiple would be ordered once more
        lot = np.where(rounded, np.ceil(lot / step - _WHOLE_LOTS_TOLERANCE) * step, lot)
    return lot
