"""Parents: jobs that lead others through stages. A stage fans out into jobs that run side by side; when the last of
them has ended, the transaction that ended it starts the next stage or ends the parent."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from actors.job_sources import named_source
from actors.kinds import KINDS, Stage
from db.models.job import FINAL_STATES, Job
from db.repositories import jobs as repository
from db.repositories import queue, sources

# Of several ends in one stage, the one that tells most about what to do.
_WORST_FIRST = ("held", "failed", "cancelled")


async def stages_of(session: AsyncSession, kind: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """A parent's stages as they are stored: jobs (kind, parameters) and whether one done is enough.

    `parameters` are given by the kind of the step: {"plan": {"today": ...}}.
    """
    return [
        {
            "tolerant": stage.tolerant,
            "jobs": [[stage.kind, each] for each in await _fan(session, stage, parameters.get(stage.kind, {}))],
        }
        for stage in KINDS[kind].stages
    ]


async def _fan(session: AsyncSession, stage: Stage, given: dict[str, Any]) -> list[dict[str, Any]]:
    if not stage.each_source or "source" in given:
        return [await named_source(session, KINDS[stage.kind], given)]
    return [{"source": code, **given} for code in await sources.readable_codes(session)]


async def start_stage(session: AsyncSession, parent: Job) -> list[Job]:
    """Make the jobs of the stage the parent is in. A stage without any is passed; returns what changed."""
    while parent.stage < len(parent.steps) and not parent.steps[parent.stage]["jobs"]:
        parent.stage += 1
    if parent.stage >= len(parent.steps):
        return [await _close(session, parent, "done")]
    jobs = parent.steps[parent.stage]["jobs"]
    parent.step = jobs[0][0]
    made = [
        Job(
            kind=kind,
            parameters=parameters,
            running_key=KINDS[kind].key(parameters),
            parent_id=parent.id,
            stage=parent.stage,
            priority=parent.priority,
            requested_by=parent.requested_by,
            max_attempts=parent.max_attempts,
            trace_context=parent.trace_context,
        )
        for kind, parameters in jobs
    ]
    session.add_all(made)
    parent.changed_at = await repository.clock(session)
    await session.flush()
    await queue.announce(session)
    return made


async def advance_parent(session: AsyncSession, child: Job) -> list[Job]:
    """Move the parent of a child that has just ended; returns the jobs that changed, for their events."""
    if child.parent_id is None:
        return []
    parent = await repository.get(session, child.parent_id, lock=True)
    if parent is None or parent.state != "running" or parent.stage != child.stage:
        return []
    siblings = await repository.children(session, parent.id, parent.stage)
    ended = [job for job in siblings if job.state in FINAL_STATES]
    parent.progress = min((parent.stage + len(ended) / len(siblings)) / max(len(parent.steps), 1), 1.0)
    parent.changed_at = await repository.clock(session)
    if len(ended) < len(siblings):
        await session.flush()
        return [parent]
    changed = await _end_stage(session, parent, siblings)
    await session.flush()
    return changed


async def _end_stage(session: AsyncSession, parent: Job, siblings: Any) -> list[Job]:
    """Go on to the next stage, or end the parent with the stage's worst end."""
    done = [job for job in siblings if job.state == "done"]
    is_last = parent.stage + 1 >= len(parent.steps)
    tolerant = bool(parent.steps[parent.stage]["tolerant"]) if parent.stage < len(parent.steps) else False
    passed = len(done) == len(siblings) or (tolerant and bool(done))
    if not passed:
        worst = min(
            (job for job in siblings if job.state in _WORST_FIRST), key=lambda job: _WORST_FIRST.index(job.state)
        )
        return [await _close(session, parent, worst.state, worst)]
    if not is_last and not parent.cancel_requested:
        parent.stage += 1
        return [parent, *await start_stage(session, parent)]
    # A step that was done before it heard of the cancellation is the last one all the same.
    state = "done" if is_last else "cancelled"
    return [await _close(session, parent, state)]


async def _close(session: AsyncSession, parent: Job, state: str, worst: Job | None = None) -> Job:
    children = await repository.children(session, parent.id)
    failed = [job for job in children if job.state in ("failed", "held")]
    parent.state = state
    parent.step = worst.kind if worst else ""
    parent.progress = 1.0 if state == "done" else parent.progress
    parent.finished_at = parent.changed_at = await repository.clock(session)
    parent.result = _results(children)
    parent.error = f"{worst.kind}: {worst.error}" if worst and worst.error else None
    parent.message = f"without {', '.join(_name(job) for job in failed)}" if state == "done" and failed else ""
    return parent


def _results(children: Any) -> dict[str, Any]:
    """Results by kind; several of one kind (a fan-out) by what tells them apart."""
    done = [job for job in children if job.state == "done"]
    alone = {job.kind for job in done if sum(other.kind == job.kind for other in done) == 1}
    return {(job.kind if job.kind in alone else _name(job)): job.result for job in done}


def _name(job: Job) -> str:
    source = job.parameters.get("source")
    return f"{job.kind}:{source}" if source else job.kind
