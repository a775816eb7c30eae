"""Daily sales of the demo factory's finished items: rates by season, trend and events, then counts drawn from them."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from cluster.demo.catalogue import Family
from cluster.demo.closures import DayArray, bank_holidays
from cluster.demo.products import BoolArray, FloatArray, IntArray, Products

FEWEST_DAYS = 28

_PATTERNS = ("smooth", "erratic", "intermittent", "lumpy")
_PATTERN_SHARES = (0.46, 0.19, 0.20, 0.15)
_WEEKDAY_WEIGHTS = np.array([0.26, 0.24, 0.22, 0.21, 0.07, 0.0, 0.0])  # Monday first; the shop closes early on Fridays
_AHEAD_DAYS = 56
_NEW_SHARE, _ENDING_SHARE, _SHIFT_SHARE = 0.08, 0.05, 0.10
_CAMPAIGNS_PER_YEAR = 2.5
_PRICE_RISE = 0.03


@dataclass(frozen=True)
class Sales:
    """Sales of finished items and what the market will take next.

    `quantity` and `revenue` are [finished, days], whole pieces and money. `ahead` is the expected demand of a week over
    the next eight, `weekly_sd` the standard deviation of past weeks, both [finished]. `ended`: items no longer sold.
    """

    days: DayArray
    quantity: IntArray
    revenue: FloatArray
    ahead: FloatArray
    weekly_sd: FloatArray
    ended: BoolArray
    pattern: list[str]


@dataclass(frozen=True)
class _Timeline:
    """Days of the past and some weeks ahead; `past` is how many lie before today."""

    days: DayArray
    weekday: IntArray
    open: BoolArray
    past: int

    @property
    def week(self) -> IntArray:
        """Week of each day, counted from the first."""
        monday_first = (self.days - self.days[0]).astype(np.int64) + self.weekday[0]
        return np.asarray(monday_first // 7)


def make_sales(rng: np.random.Generator, products: Products, price: FloatArray, today: date, days: int) -> Sales:
    """Sales of the `days` days before today, at the list prices [finished]. ValueError: fewer than four weeks."""
    if days < FEWEST_DAYS:
        raise ValueError(f"a demo factory needs at least {FEWEST_DAYS} days of sales, not {days}")
    time = _timeline(today, days)
    families = [group for group in products.group if isinstance(group, Family)]
    count = len(families)
    pattern = _patterns(rng, count)
    level, ended = _market(rng, families, pattern, time)
    uplift, discount = _campaigns(rng, families, np.isin(pattern, ("smooth", "erratic")), time)
    base = rng.lognormal(np.log(42.0), 0.8, count) * (price / 150.0) ** -0.4
    rate = level * np.clip(base, 10.0, 480.0)[:, None]
    quantity = np.zeros((count, len(time.days)), dtype=np.int64)
    ahead = rate[:, time.past :].mean(axis=1)
    for name in _PATTERNS:
        rows = np.flatnonzero(pattern == name)
        if name in ("smooth", "erratic"):
            quantity[rows] = _often(rng, rate[rows] * uplift[rows], name == "erratic", time)
        else:
            quantity[rows], ahead[rows] = _seldom(rng, level[rows], name == "lumpy", time)
    past = slice(0, time.past)
    paid = _unit_prices(rng, price, discount, time)[:, past]
    return Sales(
        days=time.days[past],
        quantity=quantity[:, past],
        revenue=np.round(quantity[:, past] * paid, 2),
        ahead=np.where(ended, 0.0, ahead),
        weekly_sd=_weekly_sd(quantity[:, past]),
        ended=ended,
        pattern=[str(name) for name in pattern],
    )


def _timeline(today: date, days: int) -> _Timeline:
    first, last = today - timedelta(days=days), today + timedelta(days=_AHEAD_DAYS)
    span = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D"))
    weekday = (span.astype(np.int64) + 3) % 7  # 1970-01-01, day 0, was a Thursday
    return _Timeline(span, weekday, (weekday < 5) & ~np.isin(span, bank_holidays(first, last)), days)


def _patterns(rng: np.random.Generator, count: int) -> np.ndarray:
    """A demand pattern for every item, in exact shares."""
    ends = np.round(np.cumsum(_PATTERN_SHARES) * count).astype(np.int64)
    return np.array(_PATTERNS)[np.searchsorted(ends, rng.permutation(count), side="right")]


def _market(
    rng: np.random.Generator, families: list[Family], pattern: np.ndarray, time: _Timeline
) -> tuple[FloatArray, BoolArray]:
    """Level of every item on every day around 1 (season x trend x shifts x life), and which items have ended."""
    count = len(families)
    strength = np.array([family.season for family in families]) * rng.uniform(0.75, 1.25, count)
    peak = np.array([family.peak for family in families]) + rng.normal(0.0, 8.0, count)
    growth = np.array([family.growth for family in families]) + rng.normal(0.0, 0.06, count)
    day_of_year = (time.days - time.days.astype("datetime64[Y]")).astype(np.int64)
    angle = 2.0 * np.pi * (day_of_year[None, :] - peak[:, None]) / 365.25
    season = np.exp(strength[:, None] * np.cos(angle)) / np.i0(strength)[:, None]  # mean 1 over a year
    years = (np.arange(len(time.days)) - time.past) / 365.25
    level = season * (1.0 + growth[:, None]) ** years[None, :]
    order = rng.permutation(count)
    new, ending, shifted = (round(share * count) for share in (_NEW_SHARE, _ENDING_SHARE, _SHIFT_SHARE))
    often = np.isin(pattern, ("smooth", "erratic"))
    day = np.arange(len(time.days))
    for row in order[often[order]][:new]:
        start = time.past - min(int(rng.integers(10, 36)) * 7, int(0.6 * time.past))
        level[row] *= np.clip((day - start + 1) / 42.0, 0.0, 1.0)
    for row in order[often[order]][new : new + shifted]:
        start = int(rng.uniform(0.3, 0.85) * time.past)
        level[row, start:] *= rng.choice([rng.uniform(0.5, 0.7), rng.uniform(1.4, 1.9)])
    ended = np.zeros(count, dtype=np.bool_)
    for row in order[::-1][:ending]:
        end = time.past - min(int(rng.integers(21, 150)), time.past // 2)
        level[row] *= np.clip((end - day) / 180.0, 0.0, 1.0)
        ended[row] = True
    return level, ended


def _campaigns(
    rng: np.random.Generator, families: list[Family], often: BoolArray, time: _Timeline
) -> tuple[FloatArray, FloatArray]:
    """(uplift, discount) of every item on every day: each family has campaigns which half of its fast items join.

    Sales dip for ten days after a campaign, for customers bought ahead.
    """
    uplift, discount = np.ones((len(families), len(time.days))), np.zeros((len(families), len(time.days)))
    category = np.array([family.category for family in families])
    for name in dict.fromkeys(family.category for family in families):
        for _ in range(max(1, round(_CAMPAIGNS_PER_YEAR * time.past / 365.25))):
            start = int(rng.integers(0, max(time.past - 14, 1)))
            end = start + int(rng.integers(5, 13))
            off = float(rng.choice([0.10, 0.15, 0.20, 0.25]))
            rows = np.flatnonzero((category == name) & often & (rng.random(len(families)) < 0.5))
            gain = 1.0 + off * rng.uniform(3.0, 6.0, len(rows))
            uplift[rows, start:end] = gain[:, None]
            uplift[rows, end : end + 10] = 0.8
            discount[rows, start:end] = off
    return uplift, discount


def _often(rng: np.random.Generator, rate: FloatArray, erratic: bool, time: _Timeline) -> IntArray:
    """Counts of items asked for nearly daily: Poisson about a rate that varies by week and day (negative binomial).

    `rate` is demand per week, [items, days].
    """
    rows, weeks = len(rate), int(time.week[-1]) + 1
    shape = rng.uniform(0.9, 1.5, rows) if erratic else rng.uniform(15.0, 60.0, rows)
    of_week = rng.gamma(shape[:, None], 1.0 / shape[:, None], (rows, weeks))
    of_day = rng.gamma(6.0, 1.0 / 6.0, rate.shape)
    mean = rate * of_week[:, time.week] * of_day * (_WEEKDAY_WEIGHTS[time.weekday] * time.open)[None, :]
    return np.asarray(rng.poisson(mean), dtype=np.int64)


def _seldom(rng: np.random.Generator, level: FloatArray, lumpy: bool, time: _Timeline) -> tuple[IntArray, FloatArray]:
    """(counts, expected weekly demand ahead) of items asked for in some weeks only: an order's chance, then its size.

    At most one order a week, so that the interval between weeks with demand is the one meant. Sizes are log-normal for
    lumpy items, nearly constant otherwise.
    """
    rows, weeks = len(level), int(time.week[-1]) + 1
    chance = rng.uniform(0.22, 0.58, rows)
    usual = rng.lognormal(np.log(7.0 if lumpy else 6.0), 0.5, rows)
    spread = rng.uniform(0.85, 1.15, rows) if lumpy else rng.uniform(0.15, 0.35, rows)
    starts = np.searchsorted(time.week, np.arange(weeks))
    weekly_chance = np.clip(chance[:, None] * level[:, starts], 0.0, 0.72)
    ordered = rng.random((rows, weeks)) < weekly_chance
    size = np.maximum(np.round(usual[:, None] * rng.lognormal(0.0, 1.0, (rows, weeks)) ** spread[:, None]), 1.0)
    weights = _WEEKDAY_WEIGHTS[time.weekday] * time.open
    # the day of a week's order: the first arrival of independent ones with the weekdays' weights
    arrival = np.where(weights > 0, rng.exponential(1.0, level.shape) / np.maximum(weights, 1e-9), np.inf)
    first = np.minimum.reduceat(arrival, starts, axis=1)[:, time.week]
    on_day = ordered[:, time.week] & (arrival == first) & (weights > 0)
    ahead = weekly_chance[:, time.week[time.past] :].mean(axis=1) * usual * np.exp(spread**2 / 2.0)
    return np.where(on_day, size[:, time.week], 0.0).astype(np.int64), ahead


def _unit_prices(rng: np.random.Generator, price: FloatArray, discount: FloatArray, time: _Timeline) -> FloatArray:
    """What a piece was sold for, [finished, days]: last year's list less campaign and customers' usual discounts."""
    year = time.days.astype("datetime64[Y]").astype(np.int64)
    of_year = (1.0 + _PRICE_RISE) ** (year - year[time.past]).astype(np.float64)
    usual = rng.uniform(0.93, 1.0, discount.shape)
    return np.asarray(price[:, None] * of_year[None, :] * (1.0 - discount) * usual)


def _weekly_sd(quantity: IntArray) -> FloatArray:
    """Standard deviation of demand over the last 26 blocks of seven days, [items]."""
    weeks = min(quantity.shape[1] // 7, 26)
    blocks = quantity[:, -7 * weeks :].reshape(len(quantity), weeks, 7).sum(axis=2)
    return np.asarray(blocks.std(axis=1))
