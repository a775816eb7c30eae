"""Tables and queries of a database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import BaseModel

from fmrp_erp_db.config import ErpDbConfig
from fmrp_erp_db.discovery import offers
from fmrp_erp_db.reading import StreamReading, read_round
from fmrp_erp_db.session import Session, open_session
from fmrp_erp_db.state import DbState, StreamState
from fmrp_sdk import Batch, CheckResult, ConnectorError, FatalError, StreamInfo

_CANCEL_AGAIN_S = 0.5


class ErpDbConnector:
    """Reads rows that are new or changed, or whole tables, in chunks. Nothing is ever written to the database."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "erp_db"
    version: ClassVar[str] = "0.1.0"
    config_model: ClassVar[type[BaseModel]] = ErpDbConfig

    def check(self, config: ErpDbConfig) -> CheckResult:
        """Whether the database answers, the log-in has not too much power, and each stream can be read as told."""
        problems: list[str] = []
        try:
            with open_session(config) as session:
                for stream in config.streams:
                    try:
                        StreamReading(session, config, stream, StreamState()).verify()
                    except FatalError as error:
                        problems.append(str(error))
        except ConnectorError as error:
            return CheckResult(False, str(error))
        if problems:
            return CheckResult(False, "; ".join(problems))
        where = str(config.path) if config.dialect == "sqlite" else f"{config.database} on {config.host}"
        return CheckResult(True, f"{where}: {len(config.streams)} stream(s) can be read; the session cannot write")

    def discover(self, config: ErpDbConfig) -> list[StreamInfo]:
        """Tables and views of the schema. RetriableError, FatalError: the database does not answer, or refuses."""
        with open_session(config) as session:
            return offers(session, config)

    async def read(self, config: ErpDbConfig, state: Any) -> AsyncIterator[Batch]:
        """What is new in each stream. Cancelled, it also ends the statement that the server is busy with.

        RetriableError: the database does not answer, or takes too long. FatalError: it refuses, a stream does not fit
        the database, or the state is of a newer version or damaged.
        """
        known = DbState.load(state)
        opened: list[Session] = []
        batches = _batches(config, known, opened.append)
        loop = asyncio.get_running_loop()
        # One thread, always the same: a statement may take minutes, and whoever cancels has to be heard meanwhile.
        with ThreadPoolExecutor(1, thread_name_prefix="erp-db") as thread:
            try:
                while True:
                    following = loop.run_in_executor(thread, next, batches, None)
                    try:
                        batch = await asyncio.shield(following)
                    except asyncio.CancelledError:
                        while not following.done():  # the first word may come between two statements
                            for session in opened:
                                session.cancel()
                            await asyncio.wait([following], timeout=_CANCEL_AGAIN_S)
                        following.exception()  # the statement's own end: nobody asks for it any more
                        raise
                    if batch is None:
                        return
                    yield batch
            finally:
                thread.submit(batches.close).result()


def _batches(config: ErpDbConfig, state: DbState, opened: Callable[[Session], None]) -> Generator[Batch, None, None]:
    with open_session(config) as session:
        opened(session)
        yield from read_round(session, config, state)
