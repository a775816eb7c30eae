"""What the OpenAPI document says is what the API does: schemathesis, all checks, as each role.

The short form draws few examples, and of the resources made from one pattern looks at two closely and at the others
once; FMRP_CONFORMANCE=full (`make test-conformance`) draws a hundred (FMRP_CONFORMANCE_EXAMPLES) of every operation.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conformance import run
from serve_world import ROLES, add_everything, add_user, listening, predict, token_for

from serve.application import PREFIX, build_app
from serve.resources.catalogue import RESOURCES
from settings import Settings

FULL = os.environ.get("FMRP_CONFORMANCE") == "full"
CLOSELY = {"items", "bom-lines"}
_FIRST_WORDS = "|".join(sorted({each.path.split("/")[0] for each in RESOURCES} - CLOSELY))
ALIKE = f"^{PREFIX}/({_FIRST_WORDS})(/|$)"
CLOSE = f"^{PREFIX}/(items|bom-lines)(/|$)"
FEW = ("--phases", "fuzzing", "--max-examples", "1", "--exclude-path-regex", ALIKE)
SHORT: dict[str, tuple[tuple[str, ...], ...]] = {
    "admin": (
        ("--phases", "coverage", "--include-path-regex", CLOSE),
        ("--phases", "fuzzing,stateful", "--max-examples", "2", "--exclude-path-regex", ALIKE),
        ("--phases", "examples", "--include-path-regex", ALIKE),
    ),
    "manager": (FEW,),
    "operator": (FEW,),
    "viewer": (FEW,),
}
EXAMPLES = os.environ.get("FMRP_CONFORMANCE_EXAMPLES", "100")
WHOLE = (("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES),)


@pytest.mark.timeout(7200 if FULL else 600)
@pytest.mark.parametrize("role", ROLES)
async def test_the_api_is_what_its_document_says(settings: Settings, tmp_path: Path, role: str) -> None:
    # Limits have tests of their own; here they would only slow things down. Tokens must outlive a long run.
    app = build_app(settings.model_copy(update={"rate_limit_requests": 0, "token_ttl_s": 86_400}), predict)
    async with listening(app) as address:
        user = await add_user(app.state.connections, role)
        async with app.state.connections.sessions.begin() as session:
            await add_everything(session)
        token = token_for(app, user.id)
        reports = [await run(address, token, tmp_path, each) for each in (WHOLE if FULL else SHORT[role])]
    for report in reports:
        print(report.summary())
        assert report.passed, report.output
    # A run in which everything is refused would pass as well.
    answered = set().union(*(report.operations_answered() for report in reports))
    assert {"GET /api/v1/items", "GET /api/v1/auth/me", "GET /api/v1/jobs"} <= answered
