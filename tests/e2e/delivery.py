"""Files for the stack's inbox. A module of its own: every folder's `conftest` has the same name to an import."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from cluster.demo.factory import FactoryFiles, generate
from cluster.local.stack import Stack

ITEMS = 120


def deliver(stack: Stack, *, seed: int) -> FactoryFiles:
    """Put a factory's files into the inbox, dated back: the source leaves files alone that were written just now."""
    files = generate(stack.settings.inbox_dir, today=datetime.now(UTC).date(), items=ITEMS, seed=seed)
    earlier = time.time() - 60
    for name, _mapping in files.files:
        os.utime(files.directory / name, (earlier, earlier))
    return files
