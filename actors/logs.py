"""JSON log lines on stderr, the same in every process, from our own code and from libraries alike.

Every line has timestamp, level, event, process and instance; within a job also job, run (its attempt) and actor; within
a trace also trace_id and span_id. Secrets are taken out last, so that they are found in tracebacks as well.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import Processor

from actors.identity import IDENTITY
from actors.redact import redact
from actors.telemetry import current_ids

# Text of ours that cannot hold a secret.
_SAFE = frozenset({"timestamp", "level", "process", "instance", "job", "run", "actor", "trace_id", "span_id", "logger"})


def configure_logs(level: str, process: str | None = None) -> None:
    """Set up structlog and the standard logging module once for this process."""
    if process is not None:
        IDENTITY.process = process
    structlog.configure(
        processors=[*_shared(), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _configure_standard_logging()


@contextmanager
def bound_ids(**ids: object) -> Iterator[None]:
    """Put ids (job, run, actor ...) on every line logged within, in tasks and threads begun there as well."""
    known = {name: value if isinstance(value, int) else str(value) for name, value in ids.items() if value is not None}
    with structlog.contextvars.bound_contextvars(**known):
        yield


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_ids,
        structlog.processors.format_exc_info,
        redact_fields,
    ]


def _configure_standard_logging() -> None:
    """Libraries' warnings in the same form. Handlers that print plain lines are replaced, others (a test's) stay."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    for other in root.handlers[:]:
        if type(other) is logging.StreamHandler or isinstance(other, _Lines):
            root.removeHandler(other)
    root.addHandler(handler)
    if root.level > logging.WARNING or root.level == logging.NOTSET:
        root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _Lines(logging.StreamHandler[Any]):
    """Known by its type, so that setting up twice does not print everything twice."""


def _add_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["process"] = IDENTITY.process
    event["instance"] = IDENTITY.instance
    if (ids := current_ids()) is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def redact_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before the line is written: no secret leaves the process."""
    for name, value in event.items():
        # `_record` and `_from_structlog` are structlog's own, removed before the line is written.
        if name not in _SAFE and not name.startswith("_"):
            event[name] = redact(name, value)
    return event
