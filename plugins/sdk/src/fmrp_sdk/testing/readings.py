"""Readings as a suite needs them: run as the product runs them, each wait with an end, what comes as plain values."""

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from fmrp_sdk.connector import Connector
from fmrp_sdk.errors import SkippableError
from fmrp_sdk.run import ConnectorRun
from fmrp_sdk.testing.source import Content
from fmrp_sdk.types import Batch, CheckResult, FileBatch, Offer, State

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Given:
    """One batch: its contents (none for a file that cannot be taken) and its state as it comes back from storage."""

    contents: tuple[Content, ...]
    state: dict[str, Any]
    batch: Batch


class Reader:
    """A connector on its source. A wait longer than `patience_s` fails the test with TimeoutError."""

    def __init__(self, connector_class: type[Connector], config: BaseModel, patience_s: float) -> None:
        self._connector_class = connector_class
        self._config = config
        self._patience_s = patience_s

    @contextmanager
    def running(self) -> Iterator[ConnectorRun]:
        """A run, closed after the block. AssertionError: it did not let go within the patience."""
        run = ConnectorRun(self._connector_class(), self._config)
        try:
            yield run
        finally:
            closed = run.close(self._patience_s)
        assert closed, f"{self._connector_class.name} does not let go: a wait of it has no end"

    def check(self) -> CheckResult:
        """See `Connector.check`."""
        with self.running() as run:
            return self._answer(run.check())

    def discover(self) -> list[Offer]:
        """See `Connector.discover`."""
        with self.running() as run:
            offers = self._answer(run.discover())
        return list(offers)

    def settle(self, state: State) -> None:
        """See `Settles.settle`."""
        with self.running() as run:
            self._answer(run.settle(state))

    def read(self, state: State | None = None, at_most: int | None = None) -> list[Given]:
        """The batches after `state`, or the first few of them; the reading is closed after the last one."""
        found: list[Given] = []
        with self.running() as run:
            while at_most is None or len(found) < at_most:
                batch = self._answer(run.next_batch(state))
                if batch is None:
                    break
                found.append(self._given(run, batch))
        return found

    def _given(self, run: ConnectorRun, batch: Batch) -> Given:
        return Given(tuple(self._contents(run, batch)), json.loads(json.dumps(dict(batch.state))), batch)

    def _contents(self, run: ConnectorRun, batch: Batch) -> Iterator[Content]:
        content = batch.content
        if isinstance(content, FileBatch):
            try:
                yield content.name, self._answer(run.content(content))
            except SkippableError:
                return
        elif content is not None:
            import pyarrow as pa

            for row in pa.RecordBatchReader.from_stream(content.records).read_all().to_pylist():
                yield content.stream, row

    def _answer(self, future: Future[_T]) -> _T:
        return future.result(self._patience_s)
