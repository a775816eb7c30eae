"""The command line: start the stack, run the demo, take single steps against a running stack."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from command_line.console import console, errors, explained, settings_or_exit, with_connections
from command_line.sources import connector_app, secrets_app
from settings import Settings

app = typer.Typer(
    help="Forecasting MRP: from daily sales data to dated purchase and production orders.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
users_app = typer.Typer(help="User accounts.", no_args_is_help=True)
db_app = typer.Typer(help="The database schema.", no_args_is_help=True)
app.add_typer(users_app, name="users")
app.add_typer(connector_app, name="connector")
app.add_typer(db_app, name="db")
app.add_typer(secrets_app, name="secrets")


@app.command()
def up(
    demo_data: Annotated[
        bool, typer.Option("--demo-data/--no-demo-data", help="Put the demo factory's files into an empty inbox.")
    ] = False,
) -> None:
    """Start everything on this machine and serve until Ctrl-C.

    PostgreSQL, Redis, Ray, the API and the dashboard; data is kept in FMRP_DATA_DIR (default .fmrp). Ports are set by
    FMRP_API_PORT (8000) and FMRP_DASHBOARD_PORT (3000). FMRP_DATABASE_URL and FMRP_REDIS_URL name real servers instead.
    """
    from cluster.local.up import up as start

    with explained():
        start(settings_or_exit(), console, demo_data=demo_data)


@app.command()
def demo(
    items: Annotated[int, typer.Option(min=80, max=20_000, help="Items of the demo factory.")] = 500,
    seed: Annotated[int, typer.Option(help="Another seed is another factory.")] = 7,
) -> None:
    """Run one whole day of a made-up factory on a throw-away stack, print what a planner wants, and clean up."""
    from cluster.demo.day import run_demo

    with explained():
        raise typer.Exit(run_demo(settings_or_exit(), console, items=items, seed=seed))


@app.command()
def ingest(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, CSV.GZ or XLSX file.")],
    mapping: Annotated[str, typer.Option(help="How to read it; `fmrp mappings` lists them.")],
    show: Annotated[int, typer.Option(min=0, help="Rejected rows to print.")] = 10,
) -> None:
    """Take one file in: every row ends as taken, merged or rejected with its line and reason."""

    async def start(session: Any, settings: Settings) -> Any:
        from actors.uploads import start_upload

        size = file.stat().st_size
        if size > settings.upload_max_bytes:
            raise ValueError(f"{file}: {size:,} bytes; at most {settings.upload_max_bytes:,} are taken")
        job, _ = await start_upload(
            session,
            file.name,
            file.read_bytes(),
            mapping,
            requested_by="command line",
            max_attempts=settings.job_max_attempts,
        )
        return job

    job = _run(start)
    _print_ingestion(job.result)
    if job.result["rejected"] and show:
        with_connections(lambda connections: _print_rejected(connections, job.id, show))


@app.command()
def forecast(
    horizon: Annotated[int | None, typer.Option(min=1, max=52, help="Weeks ahead (default 13).")] = None,
    item: Annotated[list[str] | None, typer.Option(help="Only these items; may be repeated.")] = None,
) -> None:
    """Classify and forecast all items with demand, and print accuracy against the baselines."""
    parameters = {name: value for name, value in (("horizon_weeks", horizon), ("items", item)) if value}
    job = _run(_starter("forecast", parameters))
    console.print(f"Forecast of [b]{job.result['items']:,}[/b] items, history up to week {job.result['as_of']}")
    _print_accuracy(job.result["wql"])


@app.command()
def plan(
    today: Annotated[str | None, typer.Option(help="Plan as of this day (YYYY-MM-DD) instead of today.")] = None,
    weeks: Annotated[int | None, typer.Option(min=1, max=104, help="Horizon in weeks (default 26).")] = None,
    show: Annotated[int, typer.Option(min=0, help="Most urgent orders to print.")] = 10,
) -> None:
    """Net the newest forecast into dated purchase and production orders, and print the most urgent."""
    if today is not None:
        try:
            date.fromisoformat(today)
        except ValueError:
            raise typer.BadParameter(f"--today: expected YYYY-MM-DD, not {today!r}") from None
    parameters = {name: value for name, value in (("today", today), ("horizon_weeks", weeks)) if value}
    job = _run(_starter("plan", parameters))
    summary = job.result
    console.print(
        f"[b]{summary['orders']:,}[/b] orders: {summary['purchase_orders']:,} purchase worth"
        f" {summary['purchase_value']:,.2f}, {summary['production_orders']:,} production;"
        f" {summary['critical']} critical, {summary['high']} high, {summary['warnings']} warnings about the data"
    )
    if show:
        with_connections(lambda connections: _print_orders(connections, show))


@app.command()
def day() -> None:
    """Run the whole day: ingest the inbox, forecast, plan."""
    job = _run(_starter("day", {}))
    console.print(f"The day is done: {job.result}")


@app.command()
def restart() -> None:
    """Restart dispatchers, API and actors of a running stack one by one; requests and jobs go on meanwhile.

    Here, the stack of FMRP_DATA_DIR; in a cluster, the one RAY_ADDRESS names.
    """
    from cluster.local.attach import attached
    from cluster.local.stack import find_running

    with explained():
        settings = settings_or_exit()
        with attached(settings):
            from cluster.restart import rolling_restart

            rolling_restart(find_running(settings), lambda text: console.print(f"[dim]{text}[/dim]"))
    console.print("Everything has been restarted")


@app.command()
def drain(
    host: Annotated[str | None, typer.Option(help="Only dispatchers of this host, as in a pod's preStop hook.")] = None,
) -> None:
    """Have dispatchers take no more jobs, hand over what they hold, and begin anew where there is room."""

    async def ask(connections: Any) -> int:
        from db.repositories import queue

        async with connections.sessions.begin() as session:
            return await queue.drain(session, host=host)

    console.print(f"{with_connections(ask)} dispatchers asked to drain")


@app.command("mail-test")
def mail_test() -> None:
    """Send everybody in FMRP_MAIL_TO a mail, to see whether the FMRP_SMTP_* settings are right."""
    from actors.mailer import send_test

    with explained():
        results = asyncio.run(send_test(settings_or_exit()))
    for recipient, problem in results.items():
        console.print(f"{recipient}: {f'[red]{escape(problem)}[/red]' if problem else 'handed to the mail server'}")
    raise typer.Exit(1 if any(results.values()) else 0)


@app.command()
def mappings() -> None:
    """List the mappings a file can be read with."""
    from ingestion.mapping import load_mappings

    table = Table("mapping", "target", "what it reads")
    for each in load_mappings().values():
        table.add_row(each.name, each.target, each.description)
    console.print(table)


@users_app.command("add")
def add_user(
    email: str,
    role: Annotated[str, typer.Option(help="viewer, operator, manager or admin.")] = "viewer",
    name: Annotated[str, typer.Option(help="Name shown in the dashboard.")] = "",
) -> None:
    """Create an account; the password is asked for and never shown."""
    from db.models.control import ROLES
    from db.repositories import users
    from serve.security import hash_password

    if role not in ROLES:
        raise typer.BadParameter(f"--role: expected one of {', '.join(ROLES)}, not {role!r}")
    password = typer.prompt("Password (12 characters or more)", hide_input=True, confirmation_prompt=True)
    if len(password) < 12:
        raise typer.BadParameter("the password needs 12 characters or more")

    async def add(connections: Any) -> None:
        async with connections.sessions.begin() as session:
            await users.add(
                session, email=email, name=name or email, role=role, password_hash=await hash_password(password)
            )

    with_connections(add)
    console.print(f"{email} may log in as {role}")


@db_app.command("upgrade")
def upgrade_database() -> None:
    """Bring the schema of FMRP_DATABASE_URL (or of the running stack) up to date."""
    from cluster.local.stack import find_running
    from db import migrate

    with explained():
        migrate.upgrade(find_running(settings_or_exit()).require_database_url())
    console.print("The schema is up to date")


Starter = Callable[[Any, Settings], Awaitable[Any]]


def _starter(kind: str, parameters: dict[str, Any]) -> Starter:
    async def start(session: Any, settings: Settings) -> Any:
        from actors import jobs

        job, _ = await jobs.start(
            session, kind, parameters, requested_by="command line", max_attempts=settings.job_max_attempts
        )
        return job

    return start


def _run(start: Starter) -> Any:
    """Start a job, show its progress, and return it done; exits with 1 when it failed."""
    job = with_connections(lambda connections: _start_and_follow(connections, start))
    if job.state != "done":
        errors.print(f"[red]{job.kind} {job.state}[/red]: {job.error or 'no reason given'}", highlight=False)
        raise typer.Exit(1)
    return job


async def _start_and_follow(connections: Any, start: Starter) -> Any:
    from actors.follow import follow_job

    async with connections.sessions.begin() as session:
        job = await start(session, connections.settings)
        job_id: uuid.UUID = job.id
        kind: str = job.kind
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as progress:
        task = progress.add_task(kind, total=1.0)

        def show(event: Any) -> None:
            text = event.data.message or event.data.step
            progress.update(task, completed=event.data.progress, description=f"{kind}  {text}")

        return await follow_job(connections, job_id, show)


def _print_ingestion(result: dict[str, Any]) -> None:
    console.print(
        f"read [b]{result['read']:,}[/b] = taken {result['taken']:,} + merged {result['merged']:,}"
        f" + rejected {result['rejected']:,}"
    )


async def _print_rejected(connections: Any, job_id: uuid.UUID, show: int) -> None:
    from db.repositories import rejected_rows

    async with connections.sessions() as session:
        rows = await rejected_rows.of_job(session, job_id, show)
    table = Table("line", "field", "reason")
    for row in rows:
        table.add_row(str(row.line), row.field, row.reason)
    console.print(table)


async def _print_orders(connections: Any, show: int) -> None:
    from db.repositories import plans

    async with connections.sessions() as session:
        run = await plans.latest(session)
        if run is None:
            return
        query = plans.orders_statement(run.id).order_by(plans.ORDERS_ORDER.columns["rank"]).limit(show)
        rows = (await session.execute(query)).all()
    table = Table("priority", "kind", "item", "quantity", "release", "due", "supplier", "why")
    for order, item, supplier in rows:
        quantity = f"{order.quantity:,.0f} {item.unit}"
        table.add_row(
            order.priority, order.kind, f"{item.code} {item.name}", quantity, f"{order.release_date}",
            f"{order.due_date}", supplier.code if supplier else "", order.cause,
        )  # fmt: skip
    console.print(table)


def _print_accuracy(wql: dict[str, float]) -> None:
    if not wql:
        console.print("History is too short for a backtest")
        return
    table = Table("model", "weighted quantile loss", title="Backtest, all series; lower is better")
    for model, value in sorted(wql.items(), key=lambda pair: pair[1]):
        table.add_row(model, f"{value:.4f}")
    console.print(table)


if __name__ == "__main__":
    app()
