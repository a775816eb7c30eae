"""Numbers, dates and texts as a planner reads them. Pure; None becomes an en dash everywhere."""

from __future__ import annotations

import html
from datetime import UTC, date, datetime
from typing import Any

NONE = "–"  # noqa: RUF001  (the typographic dash is meant)
_MINUTE_S = 60
_HOUR_S = 3600


def text(value: Any) -> str:
    """HTML-escaped text of anything that came from the API."""
    return NONE if value is None or value == "" else html.escape(str(value), quote=True)


def number(value: float | None, decimals: int = 0) -> str:
    """1234567.8 -> 1,234,568 (decimals fixed)."""
    return NONE if value is None else f"{value:,.{decimals}f}"


def quantity(value: float | None) -> str:
    """Up to two decimals, none when whole: 1,200 and 3.75 and 0.5."""
    if value is None:
        return NONE
    rounded = f"{value:,.2f}"
    return rounded.rstrip("0").rstrip(".")


def short_money(value: float | None) -> str:
    """Value for a tile: 950, 12.4 k, 1.28 M."""
    if value is None:
        return NONE
    if abs(value) >= 999_500:
        return f"{value / 1e6:,.2f} M"
    return f"{value / 1e3:,.1f} k" if abs(value) >= 10_000 else f"{value:,.0f}"


def percent(share: float | None, decimals: int = 0, signed: bool = False) -> str:
    """0.183 -> 18 %."""
    if share is None:
        return NONE
    return f"{share * 100:{'+' if signed else ''},.{decimals}f} %"


def day(value: date | None) -> str:
    """24 Nov 2025."""
    return NONE if value is None else f"{value.day} {value:%b %Y}"


def short_day(value: date | None, today: date | None = None) -> str:
    """24 Nov, with the year when it is not today's."""
    if value is None:
        return NONE
    return day(value) if today is not None and value.year != today.year else f"{value.day} {value:%b}"


def utc(value: datetime) -> datetime:
    """Aware UTC; a time without a zone is taken as UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moment(value: datetime | None) -> str:
    """24 Nov, 06:12 UTC."""
    return NONE if value is None else f"{short_day(utc(value).date())}, {utc(value):%H:%M} UTC"


def ago(value: datetime | None, now: datetime) -> str:
    """just now, 5 min ago, 3 h ago, 2 days ago."""
    if value is None:
        return NONE
    seconds = (utc(now) - utc(value)).total_seconds()
    if seconds < _MINUTE_S:
        return "just now"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min ago"
    if seconds < 24 * _HOUR_S:
        return f"{seconds // _HOUR_S:.0f} h ago"
    days = int(seconds // (24 * _HOUR_S))
    return "1 day ago" if days == 1 else f"{days} days ago"


def duration(seconds: float | None) -> str:
    """0.4 s, 12 s, 3 min 20 s, 1 h 05 min."""
    if seconds is None:
        return NONE
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    whole = int(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"


def pace(rows_per_s: float | None, seconds_left: float | None) -> str:
    """How a running job gets on: rows a second where it counts rows, and the time left; empty when neither is known."""
    rows = f"{number(rows_per_s)} rows/s" if rows_per_s is not None else ""
    left = f"about {duration(seconds_left)} left" if seconds_left else ""
    return " · ".join(part for part in (rows, left) if part)


def elapsed(started: datetime | None, finished: datetime | None, now: datetime) -> float | None:
    """Seconds a job has run or ran, None before it started."""
    return None if started is None else ((utc(finished or now)) - utc(started)).total_seconds()


def sentence(value: Any) -> str:
    """One line for an error field that may be text or problem details. Not escaped."""
    if isinstance(value, dict):
        return str(value.get("detail") or value.get("message") or value.get("title") or value)
    return "" if value is None else str(value)


def label(value: str | None) -> str:
    """semi_finished -> Semi finished. Not escaped."""
    return NONE if not value else value.replace("_", " ").replace("-", " ").capitalize()


def model_name(value: str | None) -> str:
    """Name of a forecast model as planners know it. Not escaped."""
    known = {
        "seasonal_naive": "Seasonal naive",
        "seasonalnaive": "Seasonal naive",
        "moving_average": "Moving average",
        "auto_ets": "AutoETS",
        "autoets": "AutoETS",
        "auto_theta": "AutoTheta",
        "autotheta": "AutoTheta",
        "dynamic_optimized_theta": "Theta",
        "theta": "Theta",
        "sba": "SBA",
        "tsb": "TSB",
        "imapa": "IMAPA",
        "croston": "Croston",
        "crostonsba": "SBA",
        "chronos": "Chronos",
        "ses": "SES",
        "naive": "Naive",
    }
    return NONE if not value else known.get(value.lower(), label(value))
