"""The records in an answer: JSON, JSON lines, or the lines of a CSV file."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

from fmrp_erp_api.answer import Answer
from fmrp_erp_api.json_path import find_all, why_nothing
from fmrp_erp_api.stream_config import Stream
from fmrp_sdk import FatalError, RetriableError

_OTHER_THAN_CSV = ("text/html", "application/xhtml", "application/json", "application/problem+json")


def decoded(answer: Answer, stream: Stream, clean: Callable[[str], str]) -> tuple[Any, list[Any]]:
    """The document, if it is one, and the records in it; of CSV its lines. `clean` makes the API's words fit to tell.

    RetriableError: this is something else, such as a gateway's page. FatalError: the records are not where they should
    be.
    """
    if answer.status == 304:
        return None, []
    if stream.format == "csv":
        return None, _csv_lines(answer)
    if not answer.body.strip() and (answer.status == 204 or stream.format == "jsonl"):
        return None, []
    try:
        if stream.format == "jsonl":
            parsed = [_parsed(line) for line in answer.body.splitlines() if line.strip()]
            return None, [each for one in parsed for each in _records(one, stream, answer, clean)]
        document = _parsed(answer.body)
    except ValueError:  # also what is no UTF-8
        raise _other(answer, stream.format) from None
    except RecursionError:
        raise FatalError(f"{answer.asked}: the answer is nested too deep to be read") from None
    return document, _records(document, stream, answer, clean)


def _records(document: Any, stream: Stream, answer: Answer, clean: Callable[[str], str]) -> list[Any]:
    path = stream.records
    if path is None:
        path = "$[*]" if isinstance(document, list) and stream.format == "json" else "$"
    if path == "$":
        return [document]
    found = find_all(path, document)
    if not found and not stream.missing_is_empty and (there := why_nothing(path, document)) is not None:
        raise FatalError(
            f"{answer.asked}: records {path!r} leads nowhere: {clean(there)}; correct records, or set missing_is_empty "
            "if the API leaves out empty lists"
        )
    if len(found) == 1 and isinstance(found[0], list) and not stream.fields and not path.endswith(("[*]", ".*")):
        raise FatalError(f"{answer.asked}: records {path!r} leads to a list; its elements are {path + '[*]'!r}")
    return found


def _parsed(text: bytes) -> Any:
    # Numbers are kept as they are written: money and quantities are no binary fractions.
    return json.loads(text, parse_float=_decimal, parse_constant=_no_number)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError("a number beyond all bounds") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _csv_lines(answer: Answer) -> list[bytes]:
    """The lines that are not blank; one that goes on within quotes is one."""
    kind = answer.headers.get("content-type", "").strip().lower()
    start = answer.body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if kind.startswith(_OTHER_THAN_CSV) or start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _other(answer, "csv")
    lines: list[bytes] = []
    begun: list[bytes] = []
    is_quoted = False
    for line in answer.body.splitlines(keepends=True):
        begun.append(line)
        is_quoted ^= line.count(b'"') % 2 == 1
        if not is_quoted:
            lines.append(b"".join(begun))
            begun = []
    return [line for line in [*lines, b"".join(begun)] if line.strip()]


def _other(answer: Answer, wanted: str) -> RetriableError:
    kind = answer.headers.get("content-type", "of no stated type")[:50]
    return RetriableError(
        f"{answer.asked}: the answer ({kind}, {len(answer.body):,} bytes) is not {wanted}; "
        "check path and format, or whether a gateway answers in the API's place"
    )
