"""The dashboard's log in the form of the other processes' (docs/operations.md): JSON lines on stderr.

It shares no code with them, being a client only. Tokens are taken out: this process holds those of every session.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=ticket=)[^\s&\"']+|(?<=[Bb]earer )[^\s\"']+")


def configure_logs(level: str) -> None:
    """Set up the standard logging module once for this process."""
    shared: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _finish,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _finish(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["process"] = "dashboard"
    for name in ("event", "exception"):
        if isinstance(event.get(name), str):
            event[name] = _TOKEN.sub("[redacted]", event[name])
    return event
