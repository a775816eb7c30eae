"""A file handed in by a person: kept, and its ingestion enqueued, in one transaction."""

from __future__ import annotations

import hashlib

from sqlalchemy.ext.asyncio import AsyncSession

from actors import jobs
from actors.mappings import hold_mappings, unknown_mapping
from db.models import Job
from db.repositories import sources


async def start_upload(
    session: AsyncSession, name: str, content: bytes, mapping: str, *, requested_by: str, max_attempts: int
) -> Job:
    """Store a file and the job that takes it in; once this commits, neither can be lost.

    Raises:
        UnknownMapping: there is no mapping of that name; the message names those there are.
    """
    if await hold_mappings(session, [mapping]):
        raise await unknown_mapping(session, mapping)
    digest = hashlib.sha256(content).hexdigest()
    file_id = await sources.put_file(
        session, source=sources.UPLOAD, name=name, sha256=digest, content=content, mapping=mapping
    )
    parameters = {"source_file_id": str(file_id), "mapping": mapping, "file": name}
    job, _ = await jobs.start(session, "ingest", parameters, requested_by=requested_by, max_attempts=max_attempts)
    return job
