"""The factory calendar: which days are worked, and the daily buckets of the planning horizon."""

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np

from planning.arrays import DayArray, IntArray

MONDAY_TO_FRIDAY = "1111100"
# Days of any history or plan: numpy knows no extra working days, so with them every free day is listed instead.
_FIRST, _LAST = np.datetime64("1900-01-01"), np.datetime64("2200-01-01")


@dataclass(frozen=True)
class Calendar:
    """Working days from `today` to the end of the horizon; bucket 0 is the first working day from `today` on.

    The horizon is `horizon_weeks` whole weeks (Monday to Sunday), the first being the week of bucket 0. A working-day
    index counts working days from bucket 0: 0 is bucket 0, negative ones lie in the past, so the difference of two
    indices is a lead time in working days. Inside the horizon index and bucket are the same number.
    `working_days` are worked though their weekday is not, and go before `holidays`.
    """

    today: date
    horizon_weeks: int
    holidays: frozenset[date] = field(default_factory=frozenset)
    weekmask: str = MONDAY_TO_FRIDAY
    working_days: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        """Refuse a calendar on which nothing can be planned."""
        if self.horizon_weeks < 1:
            raise ValueError(f"the horizon must be at least one week, not {self.horizon_weeks}")
        if "1" not in self.weekmask:
            raise ValueError("the factory calendar has no working day in its week")

    @cached_property
    def _worked(self) -> np.busdaycalendar:
        holidays = _days(self.holidays - self.working_days)
        if not self.working_days:
            return np.busdaycalendar(self.weekmask, holidays)
        every = np.arange(_FIRST, _LAST)
        free = np.setdiff1d(every[~np.is_busday(every, weekmask=self.weekmask)], _days(self.working_days))
        return np.busdaycalendar("1111111", np.concatenate([free, holidays]))

    @cached_property
    def first_day(self) -> np.datetime64:
        """The day of bucket 0."""
        start: np.datetime64 = np.busday_offset(np.datetime64(self.today, "D"), 0, "forward", busdaycal=self._worked)
        return start

    @cached_property
    def week_starts(self) -> DayArray:
        """Mondays of the horizon's weeks, [weeks]."""
        first_monday = monday_of(np.array([self.first_day]))
        return np.asarray(first_monday + 7 * np.arange(self.horizon_weeks))

    @cached_property
    def days(self) -> DayArray:
        """The day of each bucket, [buckets], ascending."""
        every = np.arange(self.first_day, self.week_starts[-1] + np.timedelta64(7, "D"))
        return every[np.is_busday(every, busdaycal=self._worked)]

    @property
    def buckets(self) -> int:
        """How many daily buckets the horizon has; at least one."""
        return len(self.days)

    @cached_property
    def week_of_bucket(self) -> IntArray:
        """Index into `week_starts` per bucket, [buckets]."""
        return self.week_index(self.days)

    @cached_property
    def days_in_week(self) -> IntArray:
        """Working days of each whole week, those before today too, [weeks]; 0 where the factory is closed."""
        ends = self.week_starts + np.timedelta64(7, "D")
        return np.asarray(np.busday_count(self.week_starts, ends, busdaycal=self._worked), dtype=np.int64)

    @cached_property
    def days_left_in_week(self) -> IntArray:
        """Working days of each week that are buckets, [weeks]: less than `days_in_week` only in the first week."""
        return np.bincount(self.week_of_bucket, minlength=self.horizon_weeks).astype(np.int64)

    @property
    def days_per_week(self) -> int:
        """Working days of a week without holidays."""
        return self.weekmask.count("1")

    def week_index(self, days: DayArray) -> IntArray:
        """Week of any days counted from the horizon's first week; negative for earlier weeks."""
        weeks = (days.astype("datetime64[D]") - self.week_starts[0]).astype(np.int64) // 7
        return np.asarray(weeks, dtype=np.int64)

    def index_of_requirement(self, days: DayArray) -> IntArray:
        """Working-day index of needs: a need on a day not worked has to be met on the last working day before it."""
        return self._index(np.busday_offset(days.astype("datetime64[D]"), 0, "backward", busdaycal=self._worked))

    def index_of_receipt(self, days: DayArray) -> IntArray:
        """Working-day index of receipts: what arrives on a day not worked is put away on the next working day."""
        return self._index(np.busday_offset(days.astype("datetime64[D]"), 0, "forward", busdaycal=self._worked))

    def day_of(self, index: IntArray) -> DayArray:
        """Day of working-day indices; they may be negative or beyond the horizon."""
        return np.asarray(np.busday_offset(self.first_day, index, busdaycal=self._worked))

    def offset(self, days: DayArray, working_days: IntArray) -> DayArray:
        """Working days from `days` on, back where `working_days` is negative; a day not worked counts as the next."""
        return np.asarray(
            np.busday_offset(days.astype("datetime64[D]"), working_days, "forward", busdaycal=self._worked)
        )

    def _index(self, worked_days: DayArray) -> IntArray:
        """Working-day index of days known to be worked."""
        return np.asarray(np.busday_count(self.first_day, worked_days, busdaycal=self._worked), dtype=np.int64)


def _days(days: frozenset[date]) -> DayArray:
    return np.array(sorted(days), dtype="datetime64[D]")


def monday_of(days: DayArray) -> DayArray:
    """Monday of each day's week (1970-01-01, day 0, was a Thursday)."""
    number = days.astype("datetime64[D]").astype(np.int64)
    return np.asarray((number - (number + 3) % 7).astype("datetime64[D]"))


def in_bucket(index: IntArray) -> IntArray:
    """Bucket of working-day indices: the past falls into bucket 0 (its lateness is the negative index)."""
    return np.maximum(index, 0)
