"""What a fresh stack needs in its database: the schema, a first user, and the inbox source."""

from __future__ import annotations

import secrets

from sqlalchemy.ext.asyncio import AsyncSession

from actors.cron import next_runs
from db import migrate
from db.engine import create_engine, session_factory
from db.models import Schedule, Source
from db.repositories import jobs, sources, users
from db.repositories import schedules as schedule_repository
from serve.security import hash_password
from settings import Settings

# In the order files must be read: what others refer to comes first.
INBOX_RULES = (
    ("units*", "erp_units"),
    ("item_categories*", "erp_item_categories"),
    ("items*", "erp_items"),
    ("unit_conversions*", "erp_unit_conversions"),
    ("suppliers*", "erp_suppliers"),
    ("supplier_terms*", "erp_supplier_terms"),
    ("bom*", "erp_bom_lines"),
    ("work_centres*", "erp_work_centres"),
    ("shifts*", "erp_shifts"),
    ("planned_stops*", "erp_planned_stops"),
    ("capacity_events*", "erp_capacity_events"),
    ("calendar_days*", "erp_calendar_days"),
    ("routings*", "erp_routings"),
    ("warehouses*", "erp_warehouses"),
    ("stock*", "erp_stock"),
    ("open_orders*", "erp_open_orders"),
    ("firm_orders*", "erp_firm_orders"),
    ("sales*", "erp_demand"),
    ("demand*", "erp_demand"),
)

# Name, kind, cron, switched on. The day waits for somebody to have set up where its data comes from.
DEFAULT_SCHEDULES = (("morning", "day", "0 6 * * *", False), ("night", "tidy", "30 3 * * *", True))


async def prepare_database(settings: Settings) -> str | None:
    """Create the first administrator and the inbox source. Returns the generated password when it made the user."""
    engine = create_engine(settings, "bootstrap", pool_size=1)
    try:
        async with session_factory(engine).begin() as session:
            await sources.put(
                session,
                Source(
                    code="inbox",
                    name="Inbox folder",
                    connector="folder",
                    config={
                        "path": str(settings.inbox_dir),
                        "max_file_bytes": settings.upload_max_bytes,
                        "min_age_s": 2.0,
                    },
                    rules=[{"pattern": pattern, "mapping": mapping} for pattern, mapping in INBOX_RULES],
                ),
            )
            await sources.put(session, Source(code=sources.UPLOAD, name="Uploads by hand", connector="upload"))
            await put_default_schedules(session, settings.time_zone)
            if await users.count(session):
                return None
            password = secrets.token_urlsafe(12)
            await users.add(
                session,
                email=settings.admin_email,
                name="Administrator",
                role="admin",
                password_hash=await hash_password(password),
            )
            return password
    finally:
        await engine.dispose()


async def put_default_schedules(session: AsyncSession, time_zone: str) -> None:
    """Add the schedules a new system begins with; what is there already is left as it was set."""
    now = await jobs.clock(session)
    for name, kind, cron, enabled in DEFAULT_SCHEDULES:
        if await schedule_repository.find(session, name) is None:
            next_run_at = next_runs(cron, time_zone, now)[0]
            session.add(
                Schedule(name=name, kind=kind, cron=cron, time_zone=time_zone, enabled=enabled, next_run_at=next_run_at)
            )


def migrate_database(settings: Settings) -> None:
    """Bring the schema up to date."""
    migrate.upgrade(settings.require_database_url())
