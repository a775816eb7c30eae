"""Settings of the plant: what planners set once for all items, and what plans and forecasts fall back to."""

from typing import Any, get_type_hints

import msgspec
from litestar import Request, Response, Router, get, patch
from litestar.datastructures import State
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncSession

from actors.plant_settings import deployment_defaults
from db.audit import act_as
from db.repositories import plant_settings
from planning.plant_settings import PlantSettings, in_force
from serve.preconditions import ETAG, etag_headers, not_modified, require_match
from serve.problems import ERRORS, FieldError, RuleBroken
from serve.security import ADMIN, VIEWER, User


class PlantSettingsAnswer(PlantSettings, frozen=True, kw_only=True):
    """Settings as they are in force. `set_here` names those that somebody has set; the others are defaults."""

    revision: int
    set_here: list[str]


# Built from the settings' own fields, so that a new one cannot be forgotten here.
PlantSettingsChange = msgspec.defstruct(
    "PlantSettingsChange",
    [
        (name, kind | None | UnsetType, UNSET)
        for name, kind in get_type_hints(PlantSettings, include_extras=True).items()
    ],
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
    namespace={"__doc__": "What is to change; what is left out stays, null sets back to the default."},
)


@get(
    "/",
    opt=VIEWER,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="getSettings",
    summary="Settings of the plant",
)
async def get_settings(
    request: Request[User, Any, Any], session: AsyncSession, state: State
) -> Response[PlantSettingsAnswer]:
    """All settings as they are in force."""
    stored, revision = await plant_settings.read(session)
    if (known := not_modified(request, revision)) is not None:
        return known
    return _answered(state, stored, revision)


@patch(
    "/",
    opt=ADMIN,
    responses=ERRORS,
    response_headers=[ETAG],
    operation_id="changeSettings",
    summary="Change settings of the plant",
    description=(
        "What is left out stays, null sets back to the default. With If-Match (the ETag they were read with) it is"
        " refused with 412 once somebody else has changed them. The next plan and forecast use them."
    ),
)
async def change_settings(
    request: Request[User, Any, Any],
    state: State,
    data: PlantSettingsChange,  # type: ignore[valid-type]
) -> Response[PlantSettingsAnswer]:
    """Set some, and see them all."""
    given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    if isinstance(given.get("working_weekdays"), list):
        given["working_weekdays"] = sorted(set(given["working_weekdays"]))
    async with state.connections.sessions.begin() as session:
        await plant_settings.lock(session)
        stored, revision = await plant_settings.read(session)
        require_match(request.headers.get("if-match"), revision)
        changed = {name: value for name, value in given.items() if value != stored.get(name)}
        if changed:
            await act_as(session, request.user.email)
            await plant_settings.store(session, changed)
            stored, revision = await plant_settings.read(session)
        return _answered(state, stored, revision)


def _answered(state: State, stored: dict[str, Any], revision: int) -> Response[PlantSettingsAnswer]:
    """The settings in force.

    Raises:
        RuleBroken: two of them do not go together.
    """
    settings = in_force(deployment_defaults(state.settings), stored)
    if broken := settings.broken_rules():
        raise RuleBroken([FieldError(field, message) for field, message in broken])
    values = msgspec.structs.asdict(settings)
    answer = PlantSettingsAnswer(**values, revision=revision, set_here=sorted(stored.keys() & values.keys()))
    return Response(answer, headers=etag_headers(revision))


router = Router("/settings", route_handlers=[get_settings, change_settings], tags=["Settings"])
