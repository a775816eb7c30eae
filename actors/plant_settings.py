"""The plant's settings in force: what planners have set, and the deployment's where they have set nothing."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from db.repositories import plant_settings
from planning.plant_settings import PlantSettings, in_force
from settings import Settings


def deployment_defaults(settings: Settings) -> PlantSettings:
    """What holds where planners have set nothing."""
    return PlantSettings(
        planning_horizon_weeks=settings.planning_horizon_weeks, forecast_horizon_weeks=settings.forecast_horizon_weeks
    )


async def read_settings(session: AsyncSession, settings: Settings) -> PlantSettings:
    """The settings in force now."""
    stored, _ = await plant_settings.read(session)
    return in_force(deployment_defaults(settings), stored)
