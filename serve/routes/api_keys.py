"""Keys of machines, for administrators."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db.models import ApiKey
from db.paging import fetch_page
from db.repositories import api_keys
from serve.parameters import TRIMMED, Cursor, Limit, Search, in_utc, sorts
from serve.problems import ERRORS, Conflict, NotFound
from serve.schemas import Listing
from serve.security import ADMIN, KEY_MARK, Role, User, act_for, digest

# What a list shows of a key, to tell it from others: 42 of its 256 bits.
PREFIX_LENGTH = len(KEY_MARK) + 7
KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=TRIMMED, examples=["erp-export"])]


KeyId = Annotated[uuid.UUID, Parameter(description="Id of a key.")]


class ApiKeyIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. Its name is that of the machine; it is never used again for another key."""

    name: KeyName
    role: Role
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class ApiKeyOut(msgspec.Struct, frozen=True):
    """A key without its secret. The last use is told to the minute."""

    id: uuid.UUID
    name: str
    role: str
    prefix: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class ApiKeyMade(ApiKeyOut, frozen=True, kw_only=True):
    """A key with its secret, told this once."""

    key: str


@get("/", opt=ADMIN, responses=ERRORS, operation_id="listApiKeys", summary="Keys of machines")
async def list_api_keys(
    session: AsyncSession,
    search: Search = None,
    role: Annotated[Role | None, Parameter(description="Only those of this role.")] = None,
    active: Annotated[bool | None, Parameter(description="Only those that open something, or no longer do.")] = None,
    sort: Annotated[str | None, sorts(api_keys.ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[ApiKeyOut]:
    """Those that open something and those that no longer do."""
    query = api_keys.statement(search=search, role=role, active=active)
    page = await fetch_page(session, query, api_keys.ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([_key_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/{key_id:uuid}", opt=ADMIN, responses=ERRORS, operation_id="getApiKey", summary="One key")
async def get_api_key(session: AsyncSession, key_id: KeyId) -> ApiKeyOut:
    """A key as it stands, without its secret."""
    return _key_out(await _existing(session, key_id))


@post("/", opt=ADMIN, responses=ERRORS, operation_id="createApiKey", summary="Make a key")
async def create_api_key(request: Request[User, Any, Any], state: State, data: ApiKeyIn) -> Response[ApiKeyMade]:
    """Send it as `X-API-Key` or as bearer token. It is shown in this answer only."""
    connections: Connections = state.connections
    if data.expires_at is not None and data.expires_at <= datetime.now(UTC):
        raise Conflict("expires_at: in the past", {"expires_at": "expected a time to come"})
    secret = KEY_MARK + secrets.token_urlsafe(32)
    try:
        async with connections.sessions.begin() as session:
            await act_for(session, request.user)
            key = await api_keys.add(
                session,
                name=data.name,
                role=data.role,
                prefix=secret[:PREFIX_LENGTH],
                key_hash=digest(secret),
                created_by=request.user.email,
                expires_at=None if data.expires_at is None else in_utc(data.expires_at),
            )
    except IntegrityError as error:
        raise Conflict(f"there is or was a key named {data.name!r} already") from error
    fields = {name: getattr(key, name) for name in ApiKeyOut.__struct_fields__}
    location = f"{request.url.path.rstrip('/')}/{key.id}"
    return Response(ApiKeyMade(**fields, key=secret), headers={"Location": location})


@delete("/{key_id:uuid}", opt=ADMIN, responses=ERRORS, operation_id="revokeApiKey", summary="Revoke a key")
async def revoke_api_key(request: Request[User, Any, Any], state: State, key_id: KeyId) -> None:
    """From this moment it opens nothing; it stays in the list, since history names it."""
    connections: Connections = state.connections
    async with connections.sessions.begin() as session:
        await act_for(session, request.user)
        key = await _existing(session, key_id, lock=True)
        if key.revoked_at is None:
            key.revoked_at = func.now()


async def _existing(session: AsyncSession, key_id: uuid.UUID, *, lock: bool = False) -> ApiKey:
    key = await api_keys.get(session, key_id, lock=lock)
    if key is None:
        raise NotFound(f"no API key {key_id}")
    return key


def _key_out(key: ApiKey) -> ApiKeyOut:
    return ApiKeyOut(**{name: getattr(key, name) for name in ApiKeyOut.__struct_fields__})


router = Router(
    "/api-keys", route_handlers=[list_api_keys, get_api_key, create_api_key, revoke_api_key], tags=["API keys"]
)
