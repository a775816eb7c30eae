"""Files on an SFTP server, read by processes that are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from erp_sftp_server import PASSWORD, T0, drop, shared_server
from kills import as_csv


class Sftp:
    """A user's files on an SFTP server in this process, which outlives the readers."""

    connector = "erp_sftp"

    def __init__(self, path: Path) -> None:
        self._folder = path / "sftp"
        self._username, self.user = shared_server().new_user(self._folder)

    def config(self) -> dict[str, Any]:
        """How the connector reaches it, the password among it."""
        return {
            "host": "127.0.0.1",
            "port": shared_server().port,
            "username": self._username,
            "password": PASSWORD,
            "host_key": [shared_server().known_hosts_line()],
            "folder": "/outbox",
            "patterns": ["**/*.csv"],
            "stable_s": 0,
        }

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        """One more file, in one of three folders."""
        drop(self._folder, f"outbox/{number % 3}/demand-{number:03d}.csv", as_csv(rows), T0 + number)


class ArchivingSftp(Sftp):
    """The same, where each file is moved away once it is stored, with the marker that released it."""

    def config(self) -> dict[str, Any]:
        """How the connector reaches it, and that it may write there."""
        marking = {"done_suffix": ".done", "after_reading": "move", "archive_folder": "../archive"}
        return {**super().config(), **marking}

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        """One more file, and then its marker."""
        super().put(number, rows)
        drop(self._folder, f"outbox/{number % 3}/demand-{number:03d}.csv.done", b"", T0 + number)
