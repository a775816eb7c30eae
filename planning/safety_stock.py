"""Safety stock by three policies, reorder point and economic order quantity."""

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from planning.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class SafetyStockPolicy:
    """What the safety stock of each item is made from, all [items], NaN where not known.

    A manual value goes before all; then the surplus of the lead-time quantile over the mean; then the variability of
    weekly demand at the
    service level. An item with none of them (a component without own forecast) has no safety stock.
    """

    manual: FloatArray
    quantile_surplus: FloatArray
    weekly_mean: FloatArray
    weekly_sd: FloatArray
    service_level: FloatArray
    days_per_week: int

    @cached_property
    def z(self) -> FloatArray:
        """Standard normal quantile of the service level, [items]."""
        return z_values(self.service_level)

    def of(self, rows: IntArray, lead_time: IntArray) -> FloatArray:
        """Safety stock of item rows at their lead times in working days, [rows], never below 0 or NaN."""
        by_variability = from_variability(
            self.z[rows], lead_time / self.days_per_week, self.weekly_mean[rows], self.weekly_sd[rows]
        )
        stock = self.manual[rows]
        for policy in (self.quantile_surplus[rows], by_variability, np.zeros(len(rows))):
            stock = np.where(np.isnan(stock), policy, stock)
        return np.maximum(stock, 0.0)


def from_quantile(lead_time_quantile: FloatArray, lead_time_mean: FloatArray) -> FloatArray:
    """Quantile of lead-time demand at the service level minus its mean, never below 0; NaN stays NaN."""
    return np.maximum(lead_time_quantile - lead_time_mean, 0.0)


def from_variability(
    z: FloatArray,
    lead_time: FloatArray,
    demand_mean: FloatArray,
    demand_sd: FloatArray,
    lead_time_sd: FloatArray | float = 0.0,
) -> FloatArray:
    """Z * sqrt(LT * sd_d^2 + d^2 * sd_LT^2), never below 0; all in one unit of time.

    Silver, Pyke & Thomas, Inventory and Production Management: demand and lead time independent.
    """
    return np.maximum(z * np.sqrt(lead_time * demand_sd**2 + demand_mean**2 * lead_time_sd**2), 0.0)


def z_values(service_level: FloatArray) -> FloatArray:
    """Standard normal quantile of service levels in (0, 1); NaN elsewhere."""
    levels, inverse = np.unique(service_level, return_inverse=True)
    quantiles = [NormalDist().inv_cdf(float(level)) if 0 < level < 1 else np.nan for level in levels]
    return np.array(quantiles, dtype=np.float64)[inverse]


def reorder_point(daily_demand: FloatArray, lead_time: IntArray, safety_stock: FloatArray) -> FloatArray:
    """Stock at which an order has to go out: d * LT + safety stock, demand per working day (Silver, Pyke & Thomas)."""
    return daily_demand * lead_time + safety_stock


def economic_order_quantity(annual_demand: FloatArray, order_cost: float, holding_cost: FloatArray) -> FloatArray:
    """sqrt(2 * D * K / h) (Harris 1913): h per unit and year; NaN where h is not above 0 or not known."""
    known = holding_cost > 0
    return np.where(known, np.sqrt(2.0 * annual_demand * order_cost / np.where(known, holding_cost, 1.0)), np.nan)
