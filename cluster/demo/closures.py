"""The days on which the demo factory and its shop are closed."""

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

DayArray = npt.NDArray[np.datetime64]

_FIXED = ((1, 1), (5, 1), (12, 24), (12, 25), (12, 26), (12, 31))
_FROM_EASTER = (-2, 1, 39, 50)  # Good Friday, Easter Monday, Ascension Day, Whit Monday


def bank_holidays(first: date, last: date) -> DayArray:
    """Bank holidays and company closures from the year of `first` to that of `last`, ascending."""
    found: list[date] = []
    for year in range(first.year, last.year + 1):
        found += [date(year, month, day) for month, day in _FIXED]
        found += [easter(year) + timedelta(days=days) for days in _FROM_EASTER]
    return np.unique(np.array(found, dtype="datetime64[D]"))


def easter(year: int) -> date:
    """Easter Sunday (the anonymous Gregorian algorithm, in Meeus, Astronomical Algorithms, 1991)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    offset = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * offset) // 451
    month, day = divmod(h + offset - 7 * m + 114, 31)
    return date(year, month, day + 1)
