"""How much of a file is taken, as the operator has set it: for sources, uploads, previews and imports alike."""

from __future__ import annotations

from ingestion.limits import Limits
from settings import Settings


def file_limits(settings: Settings) -> Limits:
    """Bounds of one file; what has no setting keeps its default."""
    return Limits(
        max_bytes=settings.upload_max_bytes,
        max_uncompressed=settings.file_max_unpacked_bytes,
        max_rows=settings.file_max_rows,
        max_columns=settings.file_max_columns,
        max_cells=settings.file_max_cells,
        max_pages=settings.file_max_pages,
        max_members=settings.archive_max_files,
        max_seconds=settings.file_max_seconds,
        max_memory=settings.file_max_memory_bytes,
    )
