"""User accounts, for administrators."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import Parameter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db.models import UserAccount
from db.paging import fetch_page
from db.repositories import tokens, users
from serve.parameters import TRIMMED, Cursor, Limit, Search, sorts
from serve.passwords import Password, check_password, one_time_password
from serve.preconditions import IfMatch, etag_headers, require_match
from serve.problems import ERRORS, Conflict, NotFound
from serve.schemas import Listing
from serve.security import ADMIN, Role, User, act_for, hash_password

# ASCII: what PostgreSQL and Python call lower case of other letters differs by the server's locale.
Email = Annotated[
    str, msgspec.Meta(pattern=r"^[!-?A-~]+@[!-?A-~]+\Z", max_length=320, examples=["maria.keller@example.com"])
]
PersonName = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=TRIMMED)]
UserId = Annotated[uuid.UUID, Parameter(description="Id of an account.")]
Settable = msgspec.UnsetType


class AccountIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account. Without a password one is made, which the answer tells, once."""

    email: Email
    name: PersonName
    role: Role
    password: Password | None = None


class AccountPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    name: PersonName | Settable = msgspec.UNSET
    role: Role | Settable = msgspec.UNSET
    active: bool | Settable = msgspec.UNSET


class ResetIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password to begin with; null has one made."""

    password: Password | None = None


class AccountOut(msgspec.Struct, frozen=True):
    """An account. The password is never among it."""

    id: uuid.UUID
    email: str
    name: str
    role: str
    active: bool
    must_change_password: bool
    revision: int
    created_at: datetime
    updated_at: datetime


class AccountMade(AccountOut, frozen=True, kw_only=True):
    """An account with the password that was made for it, told this once; null where one was given."""

    one_time_password: str | None


@get("/", opt=ADMIN, responses=ERRORS, operation_id="listUsers", summary="User accounts")
async def list_users(
    session: AsyncSession,
    search: Search = None,
    role: Annotated[Role | None, Parameter(description="Only those of this role.")] = None,
    active: Annotated[bool | None, Parameter(description="Only those that may log in, or may not.")] = None,
    sort: Annotated[str | None, sorts(users.ORDER)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[AccountOut]:
    """Those that may log in and those that no longer may."""
    query = users.statement(search=search, role=role, active=active)
    page = await fetch_page(session, query, users.ORDER, sort=sort, limit=limit, cursor=cursor)
    return Listing([_account_out(row[0]) for row in page.rows], page.next_cursor, page.total)


@get("/{user_id:uuid}", opt=ADMIN, responses=ERRORS, operation_id="getUser", summary="One account")
async def get_user(session: AsyncSession, user_id: UserId) -> Response[AccountOut]:
    """An account as it stands."""
    return _answer(await _existing(session, user_id))


@post("/", opt=ADMIN, responses=ERRORS, operation_id="createUser", summary="Add an account")
async def create_user(request: Request[User, Any, Any], state: State, data: AccountIn) -> Response[AccountMade]:
    """Whoever gets it chooses a password of their own at the first log-in."""
    connections: Connections = state.connections
    given, made = _password(data.password, data.email.lower(), state.settings.password_min_length)
    password_hash = await hash_password(given)
    try:
        async with connections.sessions.begin() as session:
            await act_for(session, request.user)
            account = await users.add(
                session,
                email=data.email,
                name=data.name,
                role=data.role,
                password_hash=password_hash,
                must_change_password=True,
            )
    except IntegrityError as error:
        raise Conflict(f"there is an account for {data.email.lower()!r} already") from error
    headers = {**etag_headers(account.revision), "Location": f"{request.url.path.rstrip('/')}/{account.id}"}
    return Response(_account_made(account, made), headers=headers)


@patch("/{user_id:uuid}", opt=ADMIN, responses=ERRORS, operation_id="changeUser", summary="Change an account")
async def change_user(
    request: Request[User, Any, Any], state: State, user_id: UserId, data: AccountPatch, if_match: IfMatch = None
) -> Response[AccountOut]:
    """Name, role, and whether it may log in; switched off, all its log-ins end. One active administrator must stay."""
    changes = {
        name: value for name in AccountPatch.__struct_fields__ if (value := getattr(data, name)) is not msgspec.UNSET
    }
    return _answer(await _change(state.connections, request.user, user_id, changes, if_match))


@delete("/{user_id:uuid}", opt=ADMIN, responses=ERRORS, operation_id="deleteUser", summary="Switch an account off")
async def delete_user(
    request: Request[User, Any, Any], state: State, user_id: UserId, if_match: IfMatch = None
) -> None:
    """It is kept, since history hangs on it, and can be switched on again. One active administrator must stay."""
    await _change(state.connections, request.user, user_id, {"active": False}, if_match)


@post(
    "/{user_id:uuid}/password",
    opt=ADMIN,
    responses=ERRORS,
    status_code=200,
    operation_id="resetUserPassword",
    summary="Give an account a new password to begin with",
)
async def reset_password(
    request: Request[User, Any, Any], state: State, user_id: UserId, data: ResetIn, if_match: IfMatch = None
) -> Response[AccountMade]:
    """Ends all log-ins of the account; its user chooses a password of their own at the next one."""
    connections: Connections = state.connections
    async with connections.sessions() as session:
        email = (await _existing(session, user_id)).email
    given, made = _password(data.password, email, state.settings.password_min_length)
    changes = {"password_hash": await hash_password(given), "must_change_password": True}
    account = await _change(connections, request.user, user_id, changes, if_match)
    return Response(_account_made(account, made), headers=etag_headers(account.revision))


async def _change(
    connections: Connections, by: User, user_id: uuid.UUID, changes: dict[str, Any], if_match: str | None
) -> UserAccount:
    """Change an account in one transaction, and end its log-ins where its password or its being active went."""
    async with connections.sessions.begin() as session:
        await act_for(session, by)
        takes_admin = changes.get("active") is False or changes.get("role", "admin") != "admin"
        admins = await users.lock_active_admins(session) if takes_admin else set()
        account = await _existing(session, user_id, lock=True)
        require_match(if_match, account.revision)
        if admins == {user_id}:
            raise Conflict("this is the last active administrator: make another one first")
        if str(user_id) == by.id and (takes_admin or "password_hash" in changes):
            raise Conflict("this is your own account: another administrator has to do that")
        for name, value in changes.items():
            if getattr(account, name) != value:
                setattr(account, name, value)
        await session.flush()
        if not account.active or "password_hash" in changes:
            reason = "switched off" if not account.active else "password reset"
            await tokens.revoke(session, reason, user_id=user_id)
    return account


def _password(given: str | None, email: str, min_length: int) -> tuple[str, str | None]:
    """The password to store, and the same where it was made here."""
    if given is None:
        made = one_time_password(min_length)
        return made, made
    check_password(given, email, min_length, "password")
    return given, None


async def _existing(session: AsyncSession, user_id: uuid.UUID, *, lock: bool = False) -> UserAccount:
    account = await users.get(session, user_id, lock=lock)
    if account is None:
        raise NotFound(f"no user {user_id}")
    return account


def _account_out(account: UserAccount) -> AccountOut:
    return AccountOut(**{name: getattr(account, name) for name in AccountOut.__struct_fields__})


def _account_made(account: UserAccount, password: str | None) -> AccountMade:
    fields = {name: getattr(account, name) for name in AccountOut.__struct_fields__}
    return AccountMade(**fields, one_time_password=password)


def _answer(account: UserAccount) -> Response[AccountOut]:
    return Response(_account_out(account), headers=etag_headers(account.revision))


router = Router(
    "/users",
    route_handlers=[list_users, get_user, create_user, change_user, delete_user, reset_password],
    tags=["Users"],
)
