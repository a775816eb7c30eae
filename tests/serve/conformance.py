"""Runs schemathesis' command line against a listening application, as anybody else would."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).with_name("schemathesis.toml")


@dataclass(frozen=True)
class Report:
    """How a run ended, what it printed, and the answers by operation and status."""

    passed: bool
    output: str
    answers: dict[str, Counter[int]]

    def operations_answered(self) -> set[str]:
        """Operations that did what they were asked at least once."""
        return {name for name, statuses in self.answers.items() if any(200 <= status < 400 for status in statuses)}

    def summary(self) -> str:
        """Answers by operation, one a line."""
        rows = (f"{name}: {dict(sorted(statuses.items()))}" for name, statuses in sorted(self.answers.items()))
        return "\n".join(rows)


async def run(address: str, token: str, folder: Path, arguments: Sequence[str]) -> Report:
    """All checks over the whole document with that token; `folder` takes the run's own report."""
    found = folder / "run.ndjson"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(CONFIG), "run", f"http://{address}/api/v1/docs/openapi.json"),
        *("--header", f"Authorization: Bearer {token}", "--checks", "all", "--no-color", "--seed", "4"),
        *("--generation-deterministic", "--report-ndjson-path", str(found)),
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return Report(process.returncode == 0, output.decode(errors="replace"), _answers(found))


def _answers(found: Path) -> dict[str, Counter[int]]:
    answers: dict[str, Counter[int]] = {}
    for line in found.read_text().splitlines() if found.exists() else ():
        for label, status in _responses(json.loads(line)):
            answers.setdefault(label, Counter())[status] += 1
    return answers


def _responses(event: dict[str, Any]) -> list[tuple[str, int]]:
    recorder = event.get("ScenarioFinished", {}).get("recorder", {})
    cases, interactions = recorder.get("cases", {}), recorder.get("interactions", {})
    return [
        ("{method} {path}".format(**cases[key]["value"]), each["response"]["status_code"])
        for key, each in interactions.items()
        if key in cases and each.get("response")
    ]
