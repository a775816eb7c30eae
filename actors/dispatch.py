"""The dispatcher: claims waiting jobs, hands each attempt to its owning actor, and sees to it that each ends.

starting -> serving -> draining -> stopped. Several may run at once, in one cluster or two: the claim gives each job to
one of them, and the attempt number fences every write. A dispatcher holds no truth: whatever it knew is in the
database, where another one finds it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import asyncpg
import structlog

from actors import metrics, schedules
from actors.attempts import Attempts, Owners
from actors.ending import end
from actors.kinds import KINDS
from actors.liveness import Membership, every
from actors.owner import Connections
from actors.relay import EventRelay
from actors.retry import is_passing
from actors.settle import Settlement, state_event
from db.repositories import queue
from db.repositories.queue import Claimed
from settings import Settings

# Without any news the queue is looked at this often: for what has become due, or whose news was lost.
POLL_S = 0.5
PAUSE_S = 0.5
SCHEDULE_S = 1.0
MAIL_S = 2.0

State = Literal["starting", "serving", "draining", "stopped"]

log = structlog.get_logger(__name__)


class Dispatcher:
    """One server of the queue. `owners` maps an owner's name to where it lives."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        owners: Owners,
        *,
        name: str = "dispatcher",
        actor: str = "",
    ) -> None:
        self.state: State = "starting"
        self._settings = settings
        self._connections = connections
        self._kinds = {
            # What has a process of its own is nobody's neighbour (see `queue.claim`).
            kind.name: (queue.NO_NEIGHBOURS if kind.by_source else kind.owner, kind.concurrency)
            for kind in KINDS.values()
            if kind.owner and kind.owner in owners
        }
        self._settlement = Settlement(connections)
        self._news = asyncio.Event()
        self._attempts = Attempts(owners, self._settlement, self._news.set, settings.owner_patience_s)
        self._membership = Membership(connections, name, actor or name, self._attempts)
        self._is_draining = False
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the queue until drained; whatever the database does meanwhile is waited out."""
        tasks = [asyncio.create_task(step) for step in (self._settlement.run(), self._attempts.watch())]
        try:
            await self._join()
            self.state = "serving"
            log.info("dispatcher serves the queue", worker=str(self._membership.id))
            tasks += [
                asyncio.create_task(step)
                for step in (
                    self._listen(),
                    self._beat(),
                    every(self._membership.interval_s, "burial", self._membership.bury_dead),
                    EventRelay(self._connections.engine, self._connections.events).run(),
                    every(SCHEDULE_S, "schedules", self._start_due),
                )
            ]
            if self._settings.mail_recipients:
                from actors.mailer import Mailer

                tasks.append(asyncio.create_task(every(MAIL_S, "mails", Mailer(self._connections).send_due)))
            await self._claim_until_draining()
            await self._drain()
        finally:
            self.state = "stopped"
            await end(*tasks)

    async def stop(self) -> None:
        """Take no more jobs; what is in hand may end within the patience of the settings and is handed back then."""
        self._is_draining = True
        self._news.set()

    async def _join(self) -> None:
        while True:
            try:
                await self._membership.join()
                return
            except Exception as error:
                if not is_passing(error):
                    raise
                log.warning("database not reached", reason=str(error))
                await asyncio.sleep(PAUSE_S)

    async def _drain(self) -> None:
        self.state = "draining"
        log.info("dispatcher drains", in_hand=len(self._attempts))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_patience_s):
                await self._attempts.until_empty()
        await self._attempts.hand_back()
        with suppress(Exception):  # struck off by the others later, if the database is away just now
            await self._membership.leave()

    async def _claim_until_draining(self) -> None:
        """Claim as long as there is room and work, then wait for news."""
        while not self._is_draining:
            self._news.clear()
            room = self._settings.job_capacity - len(self._attempts)
            claimed = await self._claim(room) if room > 0 else []
            if claimed and len(claimed) == room:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()

    async def _claim(self, room: int) -> list[Claimed]:
        try:
            async with self._connections.sessions.begin() as session:
                claimed = await queue.claim(session, self._membership.id, room, self._kinds)
        except Exception as error:  # noqa: BLE001 - a claim nobody heard of is found in the books and given back
            log.warning("claim failed", reason=str(error))
            await asyncio.sleep(PAUSE_S)
            return []
        # Told beside, and before their ends: events of one process keep the order in which they were given.
        events = [state_event(job, "running", job.changed_at, step="starting") for job in claimed]
        telling = asyncio.create_task(self._connections.tell(events))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        for job in claimed:
            self._attempts.start(job)
            metrics.attempt_begins(job.kind, job.waited_s)
        return claimed

    async def _beat(self) -> None:
        """Until cancelled: say that we live. Taken for dead, let everything go and enter anew."""
        while True:
            await asyncio.sleep(self._membership.interval_s)
            try:
                state = await self._membership.beat()
                if state is None:
                    log.warning("taken for dead: attempts in hand are abandoned")
                    self._attempts.abandon()
                    if not await self._membership.join(is_new_life=False):
                        log.warning("this dispatcher lives elsewhere by now: this one ends")
                        await self.stop()
                elif state == "draining":
                    await self.stop()
                await self._membership.give_back_strays()
            except Exception as error:  # noqa: BLE001 - the database is away: the next beat may come through
                log.warning("heartbeat failed", reason=str(error))

    async def _start_due(self) -> None:
        await schedules.start_due(self._connections)

    async def _listen(self) -> None:
        """Until cancelled: hear of new jobs and cancellations at once. Without it they are found by looking."""
        url = self._settings.require_database_url().replace("+asyncpg", "")
        while True:
            connection = None
            try:
                connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": "fmrp-listen"})
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(queue.NEWS, self._heard)
                await connection.add_listener(queue.CANCELLATIONS, self._heard)
                self._news.set()
                await lost.wait()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("not listening", reason=str(error))
            finally:
                if connection is not None and not connection.is_closed():
                    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        await connection.close(timeout=2)
            await asyncio.sleep(PAUSE_S)

    def _heard(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        if channel == queue.CANCELLATIONS:
            self._attempts.cancel(str(payload))
        self._news.set()
