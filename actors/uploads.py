"""A file handed in by a person: kept, and its ingestion enqueued, in one transaction."""

from __future__ import annotations

import hashlib

from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.mappings import hold_mappings, unknown_mapping
from db.models import Job
from db.repositories import jobs as repository
from db.repositories import sources


async def start_upload(
    session: AsyncSession,
    name: str,
    content: bytes,
    mapping: str,
    *,
    requested_by: str,
    max_attempts: int,
    idempotency_key: str | None = None,
) -> tuple[Job, bool]:
    """Store a file and the job that takes it in; once this commits, neither can be lost. Returns the job, and whether
    it is new: the same idempotency key with the same file gives the job it has started before.

    Raises:
        UnknownMapping: there is no mapping of that name; the message names those there are.
        NotAllowed: the idempotency key has started something else.
    """
    if await hold_mappings(session, [mapping]):
        raise await unknown_mapping(session, mapping)
    digest = hashlib.sha256(content).hexdigest()
    parameters = {"mapping": mapping, "file": name, "sha256": digest}
    if idempotency_key is not None:
        earlier = await repository.find_idempotent(session, requested_by, idempotency_key)
        if earlier is not None and not parameters.items() <= earlier.parameters.items():
            raise jobs.NotAllowed("Idempotency-Key: already used to start another job")
        if earlier is not None:
            return earlier, False
    file_id = await sources.put_file(
        session, source=sources.UPLOAD, name=name, sha256=digest, content=content, mapping=mapping
    )
    return await jobs.start(
        session,
        "ingest",
        {**parameters, "source_file_id": str(file_id)},
        requested_by=requested_by,
        max_attempts=max_attempts,
        idempotency_key=idempotency_key,
    )
