"""The pages of one stream, one after the other, in whichever way the API cuts them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import httpx

from fmrp_erp_api.answer import Answer, Refused
from fmrp_erp_api.call import Call
from fmrp_erp_api.config import ApiConfig
from fmrp_erp_api.decoding import decoded
from fmrp_erp_api.json_path import find_one
from fmrp_erp_api.session import Session, is_same_path
from fmrp_erp_api.stream_config import CursorPaging, LinkPaging, NoPaging, OffsetPaging, PagePaging, Stream
from fmrp_sdk import FatalError, RetriableError

Position = int | str
"""Where a page is: its number, the records before it, or what the page before it gave as the next one."""

GONE = {400, 404, 410, 422}
"""How an API says that it knows no such place in a list, or no longer."""
_MAX_POSITION = 8_000


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `position` gives it again (None: the first); `following` is the next one (None: the last).

    The records of CSV are its lines, without the header.
    """

    number: int
    answer: Answer
    records: list[Any]
    position: Position | None
    following: Position | None
    total: int | None

    @property
    def is_unchanged(self) -> bool:
        """Whether the API says that nothing changed since the answer it was asked to compare with."""
        return self.answer.status == 304


async def read_pages(
    session: Session,
    config: ApiConfig,
    stream: Stream,
    parameters: Mapping[str, Any] | None = None,
    position: Position | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[Page]:
    """Every page from `position` on. `parameters` and `headers` go with each request.

    RetriableError: an answer did not come whole, or the API no longer knows the place it gave for a page. FatalError:
    the API refuses, or goes in a circle.
    """
    base = _call(config, stream, parameters or {}, headers or {})
    seen: set[bytes] = set()
    before: list[Any] = []
    header = b""
    count = 0
    for number in range(1, config.max_pages + 1):
        if position is not None:
            _remember(seen, position, base)
        answer = await _page_at(session, base, stream, position, number)
        document, records = decoded(answer, stream, session.clean)
        if stream.format == "csv":
            header = header or next(iter(records), b"").strip()
            records = records[1:] if records and records[0].strip() == header else records
        elif len(records) > config.max_page_records:
            raise FatalError(
                f"{answer.asked}: {len(records):,} records in one answer, the limit is {config.max_page_records:,}; "
                "ask for smaller pages, or raise max_page_records"
            )
        if records and records == before and (isinstance(position, int) or len(records) > 1):
            raise FatalError(f"{answer.asked}: two pages in a row are the same; does the API know the paging's param?")
        count += len(records)
        following = _following(session, stream, position, answer, document, records, count)
        yield Page(number, answer, records, position, following, _total(stream, document, answer))
        if following is None:
            return
        before, position = records, following
    raise too_many_pages(base.asked, config)


def too_many_pages(asked: str, config: ApiConfig) -> FatalError:
    """The error for a list without an end."""
    return FatalError(f"{asked}: more than {config.max_pages:,} pages; ask for larger ones, or raise max_pages")


async def _page_at(session: Session, base: Call, stream: Stream, position: Position | None, number: int) -> Answer:
    try:
        return await session.fetch(_placed(base, stream, position))
    except Refused as error:
        if number == 1 or error.status not in GONE:
            raise
        if isinstance(stream.paging, CursorPaging | LinkPaging):
            raise RetriableError(f"page {number}: the API no longer knows the place it gave for it: {error}") from None
        raise FatalError(
            f"page {number}: {error}; if that is how the API ends its list, set total_path, more_path or "
            "stop_at_short_page"
        ) from None


async def first_page(session: Session, config: ApiConfig, stream: Stream) -> Page:
    """The first page alone. See `read_pages` for errors."""
    async with aclosing(read_pages(session, config, stream)) as pages:
        return await anext(pages)


def _call(config: ApiConfig, stream: Stream, parameters: Mapping[str, Any], headers: Mapping[str, str]) -> Call:
    base = str(config.base_url).rstrip("/")
    url = httpx.URL(f"{base}/{stream.path}" if stream.path else base)
    accept = {"json": "application/json", "jsonl": "application/x-ndjson, application/json", "csv": "text/csv, */*"}
    told = {} if "accept" in map(str.lower, config.headers) else {"Accept": accept[stream.format]}
    call = Call(stream.method, url, {**told, **headers}, stream.body)
    call = call.with_parameters(stream.params, in_body=False)
    sized = (
        {}
        if isinstance(stream.paging, NoPaging) or stream.paging.size_param is None
        else {stream.paging.size_param: stream.paging.size}
    )
    return call.with_parameters({**sized, **parameters}, stream.parameters_in == "body")


def _placed(base: Call, stream: Stream, position: Position | None) -> Call:
    """The request for the page at `position`."""
    paging, in_body = stream.paging, stream.parameters_in == "body"
    match paging:
        case PagePaging():
            return base.with_parameters({paging.param: paging.first if position is None else position}, in_body)
        case OffsetPaging():
            return base.with_parameters({paging.param: position or 0}, in_body)
        case CursorPaging() if position is not None:
            return base.with_parameters({paging.param: position}, in_body)
        case LinkPaging() if position is not None:
            return Call(base.method, httpx.URL(str(position)), base.headers, base.body)
        case _:
            return base


def _following(
    session: Session,
    stream: Stream,
    position: Position | None,
    answer: Answer,
    document: Any,
    records: list[Any],
    count: int,
) -> Position | None:
    """Where the next page is; None after the last one. `count`: records so far."""
    match paging := stream.paging:
        case NoPaging():
            return None
        case CursorPaging():
            return _next_value(paging, document, answer)
        case LinkPaging():
            link = answer.next_link if paging.next_path is None else find_one(paging.next_path, document)
            return None if link in (None, "") else _next_address(session, stream, answer, link)
    if not records or _is_last(paging, document, len(records), count, answer):
        return None
    if isinstance(paging, PagePaging):
        return (paging.first if position is None else int(position)) + 1
    # By what came, not by what was asked for: the server may give fewer at a time.
    return int(position or 0) + len(records)


def _next_value(paging: CursorPaging, document: Any, answer: Answer) -> str | None:
    value = find_one(paging.next_path, document)
    if value is None or value in ("", False):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or len(str(value)) > _MAX_POSITION:
        raise FatalError(f"{answer.asked}: next_path {paging.next_path!r} leads to no usable value")
    return str(value)


def _is_last(paging: PagePaging | OffsetPaging, document: Any, size: int, count: int, answer: Answer) -> bool:
    if paging.more_path is not None:
        more = find_one(paging.more_path, document)
        if not isinstance(more, bool):
            raise FatalError(f"{answer.asked}: more_path {paging.more_path!r} leads to no true or false")
        if not more:
            return True
    if paging.total_path is not None and count >= _whole(find_one(paging.total_path, document), paging, answer):
        return True
    return paging.stop_at_short_page and size < paging.size


def _total(stream: Stream, document: Any, answer: Answer) -> int | None:
    path = getattr(stream.paging, "total_path", None)
    return None if path is None or document is None else _whole(find_one(path, document), stream.paging, answer)


def _whole(value: Any, paging: Any, answer: Answer) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FatalError(f"{answer.asked}: total_path {paging.total_path!r} leads to no whole number")
    return value


def _next_address(session: Session, stream: Stream, answer: Answer, link: Any) -> str:
    """The next page's address, without our key. FatalError: it is none, or leads to where no log-in may go."""
    try:
        target = answer.url.join(link) if isinstance(link, str) and len(link) <= _MAX_POSITION else None
    except httpx.InvalidURL:
        target = None
    if target is None:
        raise FatalError(f"{answer.asked}: the link to the next page is no address")
    if not session.is_same_origin(target) or target.userinfo:
        raise FatalError(
            f"{answer.asked}: the link to the next page leads to another host or scheme "
            f"({target.scheme}://{target.host}), where no log-in is sent; if that is right, set it as base_url"
        )
    if stream.method != "GET" and not is_same_path(answer.url, target):
        raise FatalError(f"{answer.asked}: the link to the next page of a POST leads to another path; check paging")
    return str(session.without_secrets(target).copy_with(fragment=None))


def _remember(seen: set[bytes], position: Position, base: Call) -> None:
    """Refuses a place where this reading has been, as it would never end."""
    place = blake2b(str(position).encode(), digest_size=16).digest()
    if place in seen:
        raise FatalError(f"{base.asked}: the API gives the same next page twice, so the list would never end")
    seen.add(place)
