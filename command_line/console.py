"""What all commands share: the console, errors in one line, connections to the running stack."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console

from settings import Settings, load

# Into a file or a pipe, lines may be long; a terminal says how wide it is.
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140
console = Console(width=WIDTH)
errors = Console(stderr=True, width=WIDTH)


def settings_or_exit() -> Settings:
    """The settings; exits with 2 and names those at fault."""
    try:
        return load()
    except ValidationError as error:
        for each in error.errors():
            errors.print(f"[red]FMRP_{'_'.join(map(str, each['loc'])).upper()}[/red]: {each['msg']}")
        raise typer.Exit(2) from None


class explained:  # noqa: N801 - reads as a clause: with explained()
    """Turn the errors a user can act on into one line and exit code 1."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from cluster.local.stack import StackError

        if isinstance(error, StackError | ValueError | LookupError | OSError):
            errors.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
            raise typer.Exit(1) from None


def with_connections(action: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with connections to the running stack, or to what the settings name."""
    from actors.logs import configure_logs
    from actors.owner import Connections
    from cluster.local.stack import find_running

    async def run(settings: Settings) -> Any:
        connections = Connections(settings, "command-line")
        try:
            return await action(connections)
        finally:
            await connections.close()

    with explained():
        settings = find_running(settings_or_exit())
        configure_logs("ERROR")
        return asyncio.run(run(settings))
