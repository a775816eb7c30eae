"""Values of the field by which only what is new is asked for: how they compare, and how they are sent back."""

from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from fmrp_erp_api.stream_config import Cursor
from fmrp_sdk import FatalError

Mark = datetime | date | Decimal | str
"""A value as it compares; all of one stream are of one type."""


def mark_of(cursor: Cursor, text: str | None) -> Mark | None:
    """The value in a row; None where there is none that can be read."""
    if not text:
        return None
    try:
        match cursor.type:
            case "text":
                return text
            case "number":
                number = Decimal(text)
                return number if number.is_finite() and abs(number.adjusted()) < 60 else None
            case "date":
                return datetime.strptime(text, cursor.format).date() if cursor.format else date.fromisoformat(text[:10])  # noqa: DTZ007
            case _:
                moment = datetime.strptime(text, cursor.format) if cursor.format else datetime.fromisoformat(text)  # noqa: DTZ007
                return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(cursor.time_zone))
    except (ValueError, InvalidOperation, OverflowError):
        return None


def needed_mark(cursor: Cursor, text: str) -> Mark:
    """The value of what was configured or stored. FatalError: it is none of the cursor's type and format."""
    mark = mark_of(cursor, text)
    if mark is None:
        raise FatalError(
            f"the cursor's value {text[:50]!r} is no {cursor.type} as type and format say; correct them, or reset the "
            "source"
        )
    return mark


def set_back(cursor: Cursor, mark: Mark) -> Mark:
    """The value less the overlap."""
    try:
        if isinstance(mark, datetime):
            return mark - timedelta(seconds=cursor.set_back_by)
        if isinstance(mark, date):
            return mark - timedelta(days=cursor.set_back_by)
        if isinstance(mark, Decimal):
            return mark - Decimal(str(cursor.set_back_by)).normalize()
    except OverflowError:  # nothing is before the first day there is
        pass
    return mark


def sent_as(cursor: Cursor, text: str, *, less_overlap: bool) -> str:
    """What is sent to be given everything at or after `text`, or that less the overlap."""
    mark = needed_mark(cursor, text)
    before = set_back(cursor, mark) if less_overlap else mark
    if before == mark and cursor.send_format is None:
        value = text
    elif cursor.send_format is not None and isinstance(before, date):
        value = before.strftime(cursor.send_format)
    else:
        value = written(cursor, before, text)
    return cursor.expression.replace("{cursor}", value)


def asked_from(cursor: Cursor, text: str) -> Mark:
    """The least value that the next reading asks for after `text`: less the overlap, and as coarse as it is sent."""
    mark = set_back(cursor, needed_mark(cursor, text))
    if cursor.send_format is None or not isinstance(mark, date):
        return mark
    try:
        sent = datetime.strptime(mark.strftime(cursor.send_format), cursor.send_format)  # noqa: DTZ007
    except ValueError:  # what cannot be read back, such as a day without its year
        return mark
    if not isinstance(mark, datetime):
        return min(mark, sent.date())
    return min(mark, sent if sent.tzinfo else sent.replace(tzinfo=mark.tzinfo))


def written(cursor: Cursor, mark: Mark, like: str) -> str:
    """The value as the source writes it, in the form of `like`."""
    if isinstance(mark, datetime) and cursor.format is not None:
        pattern = datetime.strptime(like, cursor.format)  # noqa: DTZ007
        return mark.astimezone(pattern.tzinfo or ZoneInfo(cursor.time_zone)).strftime(cursor.format)
    if isinstance(mark, date) and cursor.format is not None:
        return mark.strftime(cursor.format)
    if isinstance(mark, datetime):
        pattern = datetime.fromisoformat(like)
        moment = mark.astimezone(pattern.tzinfo or ZoneInfo(cursor.time_zone))
        if pattern.tzinfo is None:
            moment = moment.replace(tzinfo=None)
        separator = "T" if "T" in like else " "
        text = moment.isoformat(separator, "microseconds" if "." in like else "seconds")
        return text.removesuffix("+00:00") + "Z" if like.endswith("Z") else text
    return mark.isoformat() if isinstance(mark, date) else format(mark, "f") if isinstance(mark, Decimal) else mark


def capped(cursor: Cursor, text: str, began: datetime) -> str:
    """The value, or the beginning of the reading where that is earlier.

    What changed while the list was read may lie on pages already passed, so the next reading begins before that. And a
    date far in the future, mistyped at the source, does not end all reading.
    """
    mark = needed_mark(cursor, text)
    if isinstance(mark, datetime):
        # The clock is told in whole seconds.
        return text if mark <= began else written(cursor, began.replace(microsecond=0), text)
    if isinstance(mark, date):
        today = began.astimezone(ZoneInfo(cursor.time_zone)).date()
        return text if mark <= today else written(cursor, today, text)
    return text
