"""Stock, open orders and customers' firm orders of the demo factory: mostly covered, some short, some too much."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from cluster.demo.catalogue import catalogue
from cluster.demo.closures import DayArray
from cluster.demo.products import KINDS, BoolArray, FloatArray, IntArray, Products
from cluster.demo.purchasing import Term
from cluster.demo.sales import Sales

StrArray = npt.NDArray[np.str_]

_STATES = ("covered", "on order", "short", "too much")
_STATE_SHARES = (0.64, 0.24, 0.06, 0.06)
_DAYS_PER_WEEK = 5
_FIRM_SHARES = (0.70, 0.45, 0.25, 0.12)  # of a week's demand already ordered, by week from today
_OVERDUE_LINES = 4
_NEGATIVE_STOCKS = 2


@dataclass(frozen=True, slots=True)
class StockLine:
    """Stock of an item (its row) at a warehouse; on hand includes what is reserved or blocked."""

    item: int
    warehouse: str
    on_hand: float
    reserved: float
    blocked: float


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order on its way; `supplier` is empty for a production order."""

    number: str
    kind: str
    item: int
    supplier: str
    quantity: float
    due: np.datetime64


@dataclass(frozen=True, slots=True)
class FirmOrder:
    """A line of a customer's order."""

    number: str
    line: int
    item: int
    customer: str
    quantity: int
    due: np.datetime64


@dataclass(frozen=True)
class Position:
    """What the planner of the past left behind, [items]: stock, and one order each, quantity 0 for none.

    `due_in` counts working days from today, negative for an order past due.
    """

    available: FloatArray
    ordered: FloatArray
    due_in: IntArray


def make_position(
    rng: np.random.Generator, products: Products, sales: Sales, weekly: FloatArray, lots: FloatArray
) -> Position:
    """Stock and at most one open order for every item, from its need a week and usual lot (both [items]).

    Worked out from the finished items down: the stock of its parents delays the need for a part, and a planner holds
    that much less of it. Else the purchase list of the first day would be empty.
    """
    count, finished = len(products.codes), products.finished
    daily, lead = weekly / _DAYS_PER_WEEK, products.lead_time.astype(np.float64)
    safety = 0.5 * lots
    safety[:finished] = 1.7 * sales.weekly_sd * np.sqrt(lead[:finished] / _DAYS_PER_WEEK)
    state = np.array(_STATES)[rng.choice(len(_STATES), count, p=_STATE_SHARES)]
    spare = rng.uniform(1.0, 22.0, count)
    spare[state == "too much"] += rng.uniform(40.0, 120.0, int((state == "too much").sum()))
    delay, cover = np.zeros(count), np.zeros(count)
    for kind in KINDS:
        rows = np.flatnonzero(np.array(products.kinds) == kind)
        delay[rows] = _delays(products, daily, delay + cover - lead)[rows]
        cover[rows] = np.maximum(lead[rows] + spare[rows] - delay[rows], 0.25 * spare[rows])
    held = np.select(
        [state == "on order", state == "short"], [rng.uniform(0.3, 0.7, count), rng.uniform(0.0, 0.3, count)], 1.0
    )
    available = np.where(state == "short", 0.0, safety) + daily * cover * held
    due_in, has_order = _arrivals(rng, state, delay + cover * held, lead)
    available[:finished][sales.ended] = np.round(rng.uniform(0.0, 60.0, int(sales.ended.sum())))
    wanted = np.maximum(daily * cover * (1.0 - held), lots)
    return Position(available, np.where(has_order & (daily > 0), wanted, 0.0), due_in)


def _delays(products: Products, daily: FloatArray, first_release: FloatArray) -> FloatArray:
    """Working days until the parents ask for each item: the mean of their first releases, by quantity, [items]."""
    bom = products.bom
    issued = daily[bom.parent] * bom.need
    total, weighted = np.zeros(len(daily)), np.zeros(len(daily))
    np.add.at(total, bom.component, issued)
    np.add.at(weighted, bom.component, issued * np.maximum(first_release[bom.parent], 0.0))
    return np.divide(weighted, total, out=np.zeros(len(daily)), where=total > 0)


def _arrivals(
    rng: np.random.Generator, state: StrArray, runs_out: FloatArray, lead: FloatArray
) -> tuple[IntArray, BoolArray]:
    """(working days until each item's open order is due, whether it has one); some are past due, all [items]."""
    count = len(lead)
    chance = np.select([state == "on order", state == "covered", state == "short"], [1.0, 0.2, 0.5], 0.0)
    in_time = rng.uniform(0.1, 0.7, count) * np.minimum(runs_out, lead)
    too_late = lead * rng.uniform(0.8, 1.0, count) + 1.0
    due_in = np.floor(np.where(state == "short", too_late, in_time)).astype(np.int64)
    late = (state != "short") & (rng.random(count) < 0.12)
    return np.where(late, -rng.integers(1, 8, count), due_in), rng.random(count) < chance


def make_stock(rng: np.random.Generator, products: Products, position: Position) -> list[StockLine]:
    """Stock lines: some items lie in two warehouses, some stock is reserved or blocked, a few bookings are behind."""
    lines: list[StockLine] = []
    below_zero = set(rng.permutation(np.flatnonzero(products.made))[:_NEGATIVE_STOCKS].tolist())
    for row, amount in enumerate(position.available):
        available = _amount(products.units[row], float(amount))
        if row in below_zero:
            lines.append(StockLine(row, "MAIN", -float(rng.integers(2, 15)), 0.0, 0.0))
            continue
        reserved = _amount(products.units[row], available * rng.uniform(0.05, 0.2)) if rng.random() < 0.15 else 0.0
        blocked = _amount(products.units[row], available * rng.uniform(0.01, 0.08)) if rng.random() < 0.05 else 0.0
        elsewhere = _amount(products.units[row], available * rng.uniform(0.2, 0.5)) if rng.random() < 0.18 else 0.0
        on_hand = round(available - elsewhere + reserved + blocked, 3)
        lines.append(StockLine(row, "MAIN", on_hand, reserved, blocked))
        if elsewhere > 0:
            lines.append(StockLine(row, "HALL2", elsewhere, 0.0, 0.0))
    return lines


def make_open_orders(
    products: Products, position: Position, terms: list[Term], multiples: FloatArray, today: date, closed: DayArray
) -> list[OpenOrder]:
    """Purchase orders to each item's first supplier, production orders for items made here, by due date."""
    first = {term.item: term.supplier for term in terms if term.priority == 1}
    rows = np.flatnonzero(position.ordered > 0)
    rows = rows[np.argsort(position.due_in[rows], kind="stable")]
    due = np.busday_offset(np.datetime64(today, "D"), position.due_in[rows], roll="forward", holidays=closed)
    orders: list[OpenOrder] = []
    for number, (row, day) in enumerate(zip(rows.tolist(), due, strict=True), start=1):
        made = bool(products.made[row])
        quantity = float(np.ceil(position.ordered[row] / multiples[row]) * multiples[row])
        code = f"WO-{31_000 + number}" if made else f"PO-{450_000 + number}"
        orders.append(OpenOrder(code, "WO" if made else "PO", row, "" if made else first[row], quantity, day))
    return orders


def make_firm_orders(rng: np.random.Generator, sales: Sales, today: date, closed: DayArray) -> list[FirmOrder]:
    """Customers' orders due in the next four weeks, the fewer the later, and a few that are overdue.

    Orders of one customer and day have one to four lines.
    """
    start = np.datetime64(today, "D")
    wanted: list[tuple[np.datetime64, int, int]] = []
    for row in np.flatnonzero(sales.ahead >= 1.0):
        usual = max(float(sales.ahead[row]) / 3.0, 2.0)
        for week, share in enumerate(_FIRM_SHARES):
            for _ in range(int(rng.poisson(share * float(sales.ahead[row]) / usual))):
                due = np.busday_offset(start, week * 5 + int(rng.integers(5)), roll="forward", holidays=closed)
                wanted.append((due, int(row), max(1, round(usual * float(rng.uniform(0.5, 1.5))))))
    for row in rng.permutation(np.flatnonzero(sales.ahead >= 1.0))[:_OVERDUE_LINES]:
        due = np.busday_offset(start, -int(rng.integers(1, 5)), roll="forward", holidays=closed)
        wanted.append((due, int(row), max(1, round(float(sales.ahead[row]) / 4.0))))
    mixed = [wanted[place] for place in rng.permutation(len(wanted))]
    mixed.sort(key=lambda line: line[0])
    orders: list[FirmOrder] = []
    number, left, customer = 820_000, 0, ""
    for place, (due, row, quantity) in enumerate(mixed):
        if left == 0 or due != mixed[place - 1][0]:
            number, left = number + 1, int(rng.integers(1, 5))
            customer, line = str(rng.choice(catalogue().customers)), 0
        line, left = line + 1, left - 1
        orders.append(FirmOrder(f"SO-{number}", 10 * line, row, customer, quantity, due))
    return orders


def _amount(unit: str, value: float) -> float:
    """An amount as it is counted: whole pieces, else to the tenth."""
    return float(round(value)) if unit == "pcs" else round(value, 1)
