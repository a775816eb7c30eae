"""A mailbox as a source for the kill tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imap_server import shared_server
from imap_source import mail
from kills import as_csv


class Mailbox:
    """Mails with a file for each day, or with two that hold it together; those that are taken are moved away."""

    connector = "imap"

    def __init__(self, _path: Path) -> None:
        self.owner = shared_server().new_mailbox()
        self.owner.create("Done")

    def config(self) -> dict[str, Any]:
        """How the connector reaches it."""
        return {**self.owner.fields(), "when_done": "move", "move_to": "Done"}

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        """One mail more."""
        parts = [rows[:2], rows[2:]] if number % 2 else [rows]
        attached = [(f"demand-{number:03d}-{place}.csv", as_csv(part)) for place, part in enumerate(parts)]
        self.owner.put(mail(*attached, ("logo.png", b"\x89PNG"), number=number + 1))
