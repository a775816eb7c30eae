"""A version of a model is promoted; lists and single reads of the registry are made from its table."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, post
from litestar.datastructures import State

from db.audit import act_as
from db.records import as_uuid
from db.repositories import models
from serve.parameters import NO_CONTROL
from serve.preconditions import etag_headers, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.resources.routes import Key
from serve.security import MANAGER, User


class PromoteIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why this version is to be used from now on."""

    verdict: Annotated[str, msgspec.Meta(min_length=1, max_length=2000, pattern=NO_CONTROL)]


class PromotedOut(msgspec.Struct, frozen=True):
    """The champion now."""

    id: uuid.UUID
    revision: int
    name: str
    version: int
    stage: str
    verdict: str | None
    promoted_at: datetime | None
    promoted_by: str | None


@post(
    "/{key:str}/promote",
    opt=MANAGER,
    responses=ERRORS,
    status_code=200,
    operation_id="promoteModelVersion",
    summary="Make a challenger the champion",
    description="The champion before it is retired. 409 unless it is a challenger; with If-Match (its ETag) 412 once "
    "somebody else has changed it.",
)
async def promote(request: Request[User, Any, Any], state: State, key: Key, data: PromoteIn) -> Response[PromotedOut]:
    """Promote one version with a verdict."""
    async with state.connections.sessions.begin() as session:
        number = as_uuid(key)
        version = None if number is None else await models.find(session, number)
        if version is None:
            raise NotFound(f"there is no model version {key!r}")
        require_match(request.headers.get("if-match"), version.revision)
        await act_as(session, request.user.email)
        try:
            await models.promote(session, version, data.verdict, request.user.email)
        except models.NotPromotable as error:
            raise Conflict(str(error)) from error
        fields = {name: getattr(version, name) for name in PromotedOut.__struct_fields__}
    return Response(PromotedOut(**fields), headers=etag_headers(fields["revision"]))


router = Router("/models", route_handlers=[promote], tags=["Models"])
