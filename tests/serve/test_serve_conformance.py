"""What the OpenAPI document says is what the API does: schemathesis, all checks, as each role."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conformance import run
from serve_world import ROLES, add_everything, add_user, listening, predict, token_for

from serve.application import build_app
from settings import Settings

FULL = os.environ.get("FMRP_CONFORMANCE") == "full"
EXAMPLES = {"admin": 12, "manager": 3, "operator": 3, "viewer": 3}


@pytest.mark.timeout(3600 if FULL else 300)
@pytest.mark.parametrize("role", ROLES)
async def test_the_api_is_what_its_document_says(settings: Settings, tmp_path: Path, role: str) -> None:
    app = build_app(settings, predict)
    async with listening(app) as address:
        user = await add_user(app.state.connections, role)
        async with app.state.connections.sessions.begin() as session:
            await add_everything(session)
        report = await run(
            address, token_for(app, user.id), tmp_path, ["--max-examples", str(100 if FULL else EXAMPLES[role])]
        )
    (Path("/tmp/conf") / role).mkdir(parents=True, exist_ok=True)
    (Path("/tmp/conf") / role / "out.txt").write_text(report.output)
    import shutil

    if (tmp_path / "run.ndjson").exists():
        shutil.copy(tmp_path / "run.ndjson", Path("/tmp/conf") / role / "run.ndjson")
    for name, each in report.answers.items():
        print(name, dict(each))
    assert report.passed
