"""What the OpenAPI document says is what the API does: schemathesis, all checks, as each role.

The short form draws few examples; FMRP_CONFORMANCE=full (`make test-conformance`) draws a hundred an operation.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conformance import run
from serve_world import ROLES, add_everything, add_user, listening, predict, token_for

from serve.application import build_app
from settings import Settings

FULL = os.environ.get("FMRP_CONFORMANCE") == "full"
SHORT = {
    "admin": ("--phases", "coverage,stateful", "--max-examples", "3"),
    "manager": ("--phases", "examples,fuzzing", "--max-examples", "4"),
    "operator": ("--phases", "examples,fuzzing", "--max-examples", "4"),
    "viewer": ("--phases", "examples,fuzzing", "--max-examples", "4"),
}
WHOLE = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "100")


@pytest.mark.timeout(7200 if FULL else 600)
@pytest.mark.parametrize("role", ROLES)
async def test_the_api_is_what_its_document_says(settings: Settings, tmp_path: Path, role: str) -> None:
    app = build_app(settings, predict)
    async with listening(app) as address:
        user = await add_user(app.state.connections, role)
        async with app.state.connections.sessions.begin() as session:
            await add_everything(session)
        report = await run(address, token_for(app, user.id), tmp_path, WHOLE if FULL else SHORT[role])
    print(report.summary())
    assert report.passed, report.output
    # A run in which everything is refused would pass as well.
    assert {"GET /api/v1/items", "GET /api/v1/auth/me", "GET /api/v1/jobs"} <= report.operations_answered()
