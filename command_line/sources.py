"""`fmrp connector` and `fmrp secrets`: what reads sources, and what is kept to log in at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from command_line.console import console, errors, with_connections

connector_app = typer.Typer(help="Connectors, which read sources.", no_args_is_help=True)
secrets_app = typer.Typer(help="Secrets of sources, and the keys they are encrypted with.", no_args_is_help=True)


@connector_app.command("new")
def connector_new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and underscores, for example web_shop.")],
    folder: Annotated[Path, typer.Option(help="Where the project's own folder is made.")] = Path(),
) -> None:
    """Make the project of a new connector: small, installable, with passing tests. docs/connectors.md goes on."""
    from fmrp_sdk.new_project import BadName, new_project

    try:
        root = new_project(name, folder)
    except BadName as error:
        errors.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    console.print(f"{root} is ready: its README.md says how to test, change and install it")


@connector_app.command("list")
def connector_list() -> None:
    """Show the installed connectors, and those that are switched off with the reason."""
    from actors.connectors import reason_of
    from fmrp_sdk import load_connectors

    found = load_connectors()
    table = Table("connector", "version", "distribution", "")
    for each in found.connectors.values():
        table.add_row(each.name, each.version, each.distribution, "ready")
    for failure in found.failures:
        reason = f"off: {reason_of(failure)}"
        table.add_row(failure.connector or failure.entry_point, "", failure.distribution, reason)
    console.print(table)


@secrets_app.command("key")
def make_secret_key() -> None:
    """Print a new key, to be put before the others in FMRP_SECRET_KEYS (of `make up`: on top of .fmrp/secret_keys)."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@secrets_app.command("rotate")
def rotate_secrets() -> None:
    """Encrypt the secrets of all sources with the newest key, also those still stored in clear."""

    async def rotate_all(connections: Any) -> Any:
        from actors.secret_rotation import rotate
        from fmrp_sdk import load_connectors

        return await rotate(connections.sessions, connections.settings, load_connectors(), "command line")

    done = with_connections(rotate_all)
    count = sum(done.encrypted.values())
    console.print(f"{count} secrets of {len(done.encrypted)} sources are encrypted with the newest key")
    for code in done.unknown:
        console.print(f"source {code}: its connector is not installed; only what was encrypted before was looked at")
    for failure in done.failures:
        errors.print(f"[red]{failure}[/red]", highlight=False)
    if done.failures:
        raise typer.Exit(1)
