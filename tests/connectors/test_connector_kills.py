"""A reader is killed at random points, in the middle of commits too: what is stored is what the source holds, once."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kills import DemandSource, as_csv, read_with_kills

from actors.owner import Connections


class Folder:
    """Files in a folder."""

    connector = "folder"

    def __init__(self, path: Path) -> None:
        self._path = path

    def config(self) -> dict[str, Any]:
        return {"path": str(self._path), "min_age_s": 0}

    def put(self, number: int, rows: list[dict[str, Any]]) -> None:
        path = self._path / f"demand-{number:03d}.csv"
        path.write_bytes(as_csv(rows))
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


SOURCES = {
    "folder": ("test_connector_kills", "Folder"),
    "erp_sftp": ("sftp_adapter", "Sftp"),
    "erp_sftp, archived": ("sftp_adapter", "ArchivingSftp"),
    "erp_db": ("erp_db_adapter", "ErpDb"),
    "erp_api": ("erp_api_adapter", "ErpApi"),
    "imap": ("imap_adapter", "Mailbox"),
    "gmail": ("gmail_adapter", "Gmail"),
}


@pytest.fixture
def demand_source(name: str, tmp_path: Path) -> Iterator[DemandSource]:
    """The source of that name; its server is skipped where it cannot be had."""
    module, kind = SOURCES[name]
    source: DemandSource = getattr(importlib.import_module(module), kind)(tmp_path)
    yield source
    if close := getattr(source, "close", None):
        close()


@pytest.mark.parametrize("name", SOURCES)
async def test_after_kills_the_totals_match_the_source(
    connections: Connections, demand_source: DemandSource, kill_count: int, name: str
) -> None:
    seed = int(os.environ.get("FMRP_KILL_SEED", random.randint(0, 999_999)))
    print(f"FMRP_KILL_SEED={seed}")  # shown when it fails
    rounds = await read_with_kills(connections, demand_source, kill_count, seed)
    print(f"{name}: {kill_count} readers died in {rounds} rounds")
