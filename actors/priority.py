"""Processes that compute for long step back behind those that answer people."""

from __future__ import annotations

import os

COMPUTING = 10


def step_back() -> None:
    """Lower this process's priority, once; it cannot be raised again."""
    os.nice(max(0, COMPUTING - os.nice(0)))
