"""Days of demand, each a mail with two attachments, in a mailbox of Gmail's whose mails are labelled when done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gmail_mailbox import mail_of
from gmail_server import MODIFY, GmailServer
from kills import as_csv


class Gmail:
    """A mailbox on a local server, which lives until `close`."""

    connector = "gmail"

    def __init__(self, path: Path) -> None:
        self.server = GmailServer()
        self.server.start()
        self._key = self.server.user_key(MODIFY)

    def close(self) -> None:
        self.server.stop()

    def config(self) -> dict[str, Any]:
        return {
            "credentials": self._key,
            "api_url": self.server.url,
            "query": "has:attachment",
            "when_done": "label",
            "done_label": "Taken",
            "remove_labels": ["INBOX", "UNREAD"],
        }

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        # Two files: a reader may die between them.
        files = {f"demand-{number:03d}-a.csv": as_csv(rows[:2]), f"demand-{number:03d}-b.csv": as_csv(rows[2:])}
        self.server.mailbox.deliver(mail_of(files))
