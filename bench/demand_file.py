"""One file of demand into a database, as the ingestion actor takes it in: `python -m bench.demand_file URL FILE`.

Prints seconds of each part and of all, counts, and the peak of memory, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from actors.intake import store_rows
from actors.mappings import shipped
from db import rollups
from db.records import codes as known_codes
from ingestion.ingest import ingest
from ingestion.targets import TARGETS
from ingestion.validate import KnownCodes

FEED = "erp_demand"


async def load(url: str, path: Path) -> dict[str, Any]:
    """Read and store one file with the shipped mapping of that name."""
    mapping = next(each for each in shipped().values() if each.name == FEED)
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        codes = await known_codes(session, TARGETS[mapping.target].references())
    before = peak_bytes()
    began = time.perf_counter()
    content = await asyncio.to_thread(path.read_bytes)
    taken = await asyncio.to_thread(ingest, content, path.name, mapping, KnownCodes(**codes))
    read = time.perf_counter()
    async with AsyncSession(engine) as session, session.begin():
        await store_rows(session, taken, FEED)
    stored = time.perf_counter()
    await rollups.refresh(engine)
    done = time.perf_counter()
    await engine.dispose()
    return {
        "seconds": {"read": read - began, "store": stored - read, "refresh": done - stored, "all": done - began},
        "counts": [taken.read, taken.taken, taken.merged, taken.rejected_count],
        "before": before,
        "peak": peak_bytes(),
    }


def peak_bytes() -> int:
    """The most memory this process has had, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], Path(sys.argv[2])))))
