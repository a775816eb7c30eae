"""Kills of readers of real sources."""

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("actors", "plugins")]


@pytest.fixture
def kill_count() -> int:
    """How often a reader is killed: 20 times with FMRP_FAULTS=full."""
    return 20 if os.environ.get("FMRP_FAULTS") == "full" else 3
