"""Which events a client asks for: whole topics, one job with its steps, one resource."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import NamedTuple

from actors.events import DATA_TOPIC, EVERY_TOPIC, JOB_TOPIC, DataChanged, Event, JobChanged, JobData, JobProgressed

MOST_TOPICS = 50
ONE_JOB = "job:"
ONE_RESOURCE = "data:"
EXPECTED = f"{JOB_TOPIC}, {ONE_JOB}<id>, {DATA_TOPIC}, {ONE_RESOURCE}<resource> or *"
_RESOURCE = re.compile(r"[a-z][a-z0-9_-]{0,59}")
# The whole of a topic, in the words of its parts.
_WHOLE = {f"{ONE_JOB}*": JOB_TOPIC, f"{ONE_RESOURCE}*": DATA_TOPIC, JOB_TOPIC: JOB_TOPIC, DATA_TOPIC: DATA_TOPIC}


class WrongTopic(ValueError):
    """No topic of ours; the message names it and what was expected."""


class Topics(NamedTuple):
    """What a client listens to; no name at all means everything."""

    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Topics:
        """Read a client's list.

        Raises:
            WrongTopic: one of them is none, or they are too many.
        """
        names = [text for text in texts if text]
        if len(names) > MOST_TOPICS:
            raise WrongTopic(f"topic: at most {MOST_TOPICS}")
        return EVERYTHING if "*" in names else cls(frozenset(map(_name_of, names)))

    def want(self, channels: tuple[str, ...]) -> bool:
        """Whether an event with these names concerns the client."""
        return not self.names or EVERY_TOPIC in channels or not self.names.isdisjoint(channels)

    def want_job(self, job: JobData) -> bool:
        """Whether this job, or the one it is a step of, concerns the client."""
        return self.want(_job_channels(job))

    @property
    def have_jobs(self) -> bool:
        """Whether a snapshot of the jobs concerns the client."""
        return self.have_all_jobs or any(name.startswith(ONE_JOB) for name in self.names)

    @property
    def have_all_jobs(self) -> bool:
        """Whether it concerns the client as it is."""
        return not self.names or JOB_TOPIC in self.names

    def have_more_jobs_than(self, others: Topics) -> bool:
        """Whether jobs concern a client with these that did not with the others."""
        if others.have_all_jobs:
            return False
        return self.have_all_jobs or any(name.startswith(ONE_JOB) for name in self.names - others.names)

    @property
    def label(self) -> str:
        """The one topic, or nothing where they are several."""
        return next(iter(self.names)) if len(self.names) == 1 else EVERY_TOPIC


EVERYTHING = Topics()


def channels_of(event: Event) -> tuple[str, ...]:
    """Every name under which clients may ask for this event."""
    if isinstance(event, (JobChanged, JobProgressed)):
        return (event.topic, *_job_channels(event.data)) if event.topic == JOB_TOPIC else (event.topic,)
    if isinstance(event, DataChanged):
        return event.topic, f"{ONE_RESOURCE}{event.data.resource}"
    return (event.topic,)


def _job_channels(job: JobData) -> tuple[str, ...]:
    own = f"{ONE_JOB}{job.job_id}"
    return (JOB_TOPIC, own, f"{ONE_JOB}{job.parent_id}") if job.parent_id else (JOB_TOPIC, own)


def _name_of(text: str) -> str:
    if (whole := _WHOLE.get(text)) is not None:
        return whole
    if text.startswith(ONE_JOB):
        try:
            return f"{ONE_JOB}{uuid.UUID(text.removeprefix(ONE_JOB))}"
        except ValueError as error:
            raise WrongTopic(f"topic: expected {ONE_JOB}<id> with a job's id, not {text[:60]!r}") from error
    if text.startswith(ONE_RESOURCE) and _RESOURCE.fullmatch(text.removeprefix(ONE_RESOURCE)):
        return text
    raise WrongTopic(f"topic: expected {EXPECTED}, not {text[:60]!r}")
