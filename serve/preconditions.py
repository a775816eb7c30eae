"""Two writers of one row: the ETag says which revision was read, If-Match that only this one may be changed.

Convention of the whole API: rows carry `revision` (1, 2, 3 ...); GET, PATCH and PUT answer `ETag: "<revision>"`; a
write whose If-Match names another revision is refused with 412; without If-Match the last writer wins.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from litestar import Request, Response
from litestar.datastructures import ResponseHeader
from litestar.exceptions import ValidationException
from litestar.params import Parameter

from serve.problems import PreconditionFailed

IF_MATCH = "With If-Match (the ETag it was read with) it is refused with 412 once somebody else has changed it."
"""What the document says of the header, which it does not declare."""

IfMatch = Annotated[
    str | None,
    Parameter(
        header="If-Match",
        max_length=1000,
        description='The ETag of the revision to change, e.g. "3"; with another one there now the answer is 412.',
    ),
]
"""Type of a handler's `if_match: IfMatch = None`."""

ETAG = ResponseHeader(name="ETag", description="Revision of the row, for If-Match.", documentation_only=True)
LOCATION = ResponseHeader(name="Location", description="Where the row is.", documentation_only=True)
"""Document the headers of an answer."""

# RFC 9110: any visible character but the quote, and bytes above ASCII.
_TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')


def etag(revision: int) -> str:
    """The entity tag of a revision."""
    return f'"{revision}"'


def etag_headers(revision: int) -> dict[str, str]:
    """The header of an answer that shows a row at that revision."""
    return {"ETag": etag(revision)}


def not_modified(request: Request[Any, Any, Any], revision: int) -> Response[Any] | None:
    """The answer to a client that has this revision already (If-None-Match); None for any other."""
    if request.headers.get("if-none-match") != etag(revision):
        return None
    return Response(None, status_code=304, headers=etag_headers(revision))


def parse_if_match(header: str) -> frozenset[str] | None:
    """The tags of an If-Match header, without quotes; None for `*`, which any revision matches.

    A weak tag counts as its strong one: a tag here names a revision, not bytes, and compressing proxies weaken tags.

    Raises:
        ValidationException: not `*` and not a list of quoted tags.
    """
    if header.strip() == "*":
        return None
    tags: set[str] = set()
    at = 0
    while at < len(header):
        found = _TAG.match(header, at)
        if found is None or (found.end() < len(header) and header[found.end()] != ","):
            break
        tags.add(found[1])
        at = found.end() + 1
    if not tags or at < len(header) or header.rstrip().endswith(","):
        raise ValidationException(
            "the If-Match header is not valid",
            extra=[{"key": "If-Match", "message": 'expected "<revision>", a list of these, or *'}],
        )
    return frozenset(tags)


def require_match(if_match: str | None, revision: int) -> None:
    """Let a write go on when its If-Match (None: not sent) allows the row's revision.

    Read the row locked (FOR UPDATE) in the transaction that changes it, and check then: so one of two writers wins.

    Raises:
        PreconditionFailed: the row has moved on since it was read; the answer's ETag says to where.
        ValidationException: see `parse_if_match`.
    """
    if if_match is None:
        return
    tags = parse_if_match(if_match)
    if tags is not None and str(revision) not in tags:
        raise PreconditionFailed(
            f"somebody has changed this meanwhile: it is at revision {revision} now; read it again",
            headers=etag_headers(revision),
        )
