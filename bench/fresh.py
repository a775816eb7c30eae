"""A fresh embedded PostgreSQL for one benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.postgres import EmbeddedPostgres
from db import migrate


@contextmanager
def migrated_postgres() -> Iterator[str]:
    """URL of a server with the newest schema, gone with the body."""
    with tempfile.TemporaryDirectory(prefix="fmrp-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", "bench")
        server.start()
        try:
            migrate.upgrade(server.url)
            yield server.url
        finally:
            server.stop()
