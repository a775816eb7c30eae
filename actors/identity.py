"""Who this process is, in its logs, traces and metrics."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass


@dataclass
class Identity:
    """`process` is what it does (api, dispatcher, ingestion ...), `instance` tells two of the same apart.

    The instance is a process id and a random part, and no host name: metrics are public.
    """

    process: str = "unnamed"
    instance: str = f"{os.getpid()}-{secrets.token_hex(3)}"


IDENTITY = Identity()
"""Of this process; its name is set once by `configure_telemetry` or `configure_logs`."""
