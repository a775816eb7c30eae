"""Every error is problem details with the security headers, and tells what the caller can act on and nothing else."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from pydantic import SecretStr
from serve_world import API, add_user, assert_problem, bearer, http_client, started, token_for
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from db.repositories import items as items_repository
from serve.application import SECURITY_HEADERS, build_app
from settings import Settings


def assert_headers(answer: httpx.Response) -> None:
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers.get_list(name) == [value], f"{answer.request.url}: {name}"


async def test_security_headers_are_on_every_kind_of_answer(
    viewer: httpx.AsyncClient, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store"}
    assert wanted.items() <= SECURITY_HEADERS.items()
    for client, path, status in (
        (viewer, f"{API}/items", 200),
        (anyone, f"{API}/items", 401),
        (anyone, "/nowhere", 404),
        (viewer, f"{API}/items?limit=0", 400),
        (viewer, f"{API}/plans/latest/orders.csv", 404),
        (anyone, f"{API}/docs", 200),
        (anyone, "/metrics", 200),
    ):
        answer = await client.get(path)
        assert answer.status_code == status
        assert_headers(answer)
    assert_headers(await viewer.delete(f"{API}/items"))
    monkeypatch.setattr(items_repository, "find", broken)
    answer = await viewer.get(f"{API}/demand/A-100")
    assert answer.status_code == 500
    assert_headers(answer)


async def broken(*_: object) -> None:
    raise ZeroDivisionError("password=hunter2 in /srv/secret.py")


async def test_an_unexpected_exception_tells_nothing_of_our_insides(
    viewer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items_repository, "find", broken)
    answer = await viewer.get(f"{API}/demand/A-100")
    assert_problem(answer, 500)
    for secret in ("hunter2", "ZeroDivision", "Traceback", "secret.py"):
        assert secret not in answer.text


async def test_what_is_not_there_is_named(viewer: httpx.AsyncClient, plant: None) -> None:
    unknown = uuid.uuid4()
    for path, named in (
        ("/items/NOPE", "NOPE"),
        ("/demand/NOPE", "NOPE"),
        ("/forecasts/latest/items/NOPE", "NOPE"),
        (f"/jobs/{unknown}", str(unknown)),
        (f"/sources/runs/{unknown}", str(unknown)),
        (f"/sources/runs/{unknown}/rejected-rows", str(unknown)),
        ("/sources/nope/runs", "nope"),
    ):
        assert named in assert_problem(await viewer.get(API + path), 404)["detail"]
    assert_problem(await viewer.get(f"{API}/nothing/here"), 404)
    assert_problem(await viewer.get(f"{API}/jobs/not-a-uuid"), 404)


async def test_the_wrong_method_is_405(viewer: httpx.AsyncClient) -> None:
    assert_problem(await viewer.delete(f"{API}/items"), 405)
    assert_problem(await viewer.get(f"{API}/auth/login"), 405)


async def test_options_answers_without_a_fault(anyone: httpx.AsyncClient, viewer: httpx.AsyncClient) -> None:
    for client in (anyone, viewer):
        assert (await client.options(f"{API}/items")).status_code < 500


BAD_QUERIES = [
    ("limit=0", "limit"),
    ("limit=501", "limit"),
    ("limit=many", "limit"),
    ("kind=banana", "kind"),
    (f"search={'x' * 201}", "search"),
    ("sort=password_hash", "sort"),
    ("cursor=%21%21", "cursor"),
    ("kind=null", "kind"),
    ("search=a%0ab", "search"),
    ("search=%00", "search"),
]


def forged_cursor(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


NO_PAGES = [
    "&cursor=AAAA",
    f"&cursor={forged_cursor('name', 'x', 'y')}",
    f"&cursor={forged_cursor('cost', 'no number', 'A-100')}",
    f"&cursor={forged_cursor('cost', chr(0xD800), 'A-100')}",
    f"&cursor={forged_cursor('cost', '1', chr(0))}",
]


async def test_a_cursor_that_is_none_of_this_list_names_no_page(viewer: httpx.AsyncClient, plant: None) -> None:
    for cursor in NO_PAGES:
        problem = assert_problem(await viewer.get(f"{API}/items?sort=cost{cursor}"), 404)
        assert problem["errors"][0]["field"] == "cursor"


async def test_a_bad_parameter_is_400_and_names_the_field(viewer: httpx.AsyncClient) -> None:
    for query, field in BAD_QUERIES:
        problem = assert_problem(await viewer.get(f"{API}/items?{query}"), 400)
        assert [each["field"] for each in problem["errors"]] == [field]
        assert problem["errors"][0]["message"]


async def test_values_the_database_cannot_take_are_the_callers_mistake(viewer: httpx.AsyncClient, plant: None) -> None:
    for path in ("/items?search=%00", "/items/%00", "/demand/A%00"):
        assert_problem(await viewer.get(API + path), 400)


async def test_bodies_are_checked(operator: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    json_type = {"Content-Type": "application/json"}
    malformed = await operator.post(f"{API}/jobs", content=b'{"kind": ', headers=json_type)
    assert_problem(malformed, 400)
    unknown = await operator.post(f"{API}/jobs", json={"kind": "plan", "prioritee": 1})
    assert "prioritee" in json.dumps(assert_problem(unknown, 400)["errors"])
    kind = await operator.post(f"{API}/jobs", json={"kind": "shutdown"})
    assert assert_problem(kind, 400)["errors"][0]["field"] == "kind"
    missing = await anyone.post(f"{API}/auth/login", json={"email": "a@example.com"})
    assert "password" in json.dumps(assert_problem(missing, 400)["errors"])
    extra = await anyone.post(f"{API}/auth/login", json={"email": "a", "password": "b", "role": "admin"})
    assert "role" in json.dumps(assert_problem(extra, 400)["errors"])
    not_finite = b'{"series":[{"item":"A","start":"2026-11-23","values":[NaN]}]}'
    assert_problem(await operator.post(f"{API}/forecasts/predict", content=not_finite, headers=json_type), 400)
    assert_problem(await operator.post(f"{API}/jobs", content=b"\xff\xfe", headers=json_type), 400)
    nul = await operator.post(f"{API}/jobs", json={"kind": "plan", "parameters": {"a": "\0"}})
    assert_problem(nul, 400)


async def test_a_body_beyond_the_limit_is_413(operator: httpx.AsyncClient) -> None:
    content = b'{"kind": "plan", "parameters": {"a": "' + b"x" * (1024 * 1024) + b'"}}'
    answer = await operator.post(f"{API}/jobs", content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, 413)
    assert (await operator.get(f"{API}/jobs")).json()["total"] == 0


async def test_a_bad_host_header_is_a_client_error(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get("/health", headers={"Host": "a b/c"})).status_code < 500


@pytest.mark.parametrize("case", ["closed port", "missing socket", "missing database"])
async def test_a_database_that_is_away_is_503_and_health_is_down(settings: Settings, tmp_path: Path, case: str) -> None:
    url = {
        "closed port": "postgresql+asyncpg://a:b@127.0.0.1:1/x",
        "missing socket": f"postgresql+asyncpg://a@/x?host={tmp_path}",
        "missing database": make_url(settings.require_database_url())
        .set(database="gone")
        .render_as_string(hide_password=False),
    }[case]
    app = build_app(settings.model_copy(update={"database_url": SecretStr(url)}), None)  # type: ignore[arg-type]
    async with started(app), http_client(app, bearer(token_for(app, str(uuid.uuid4())))) as client:
        for path in ("/items", "/jobs", "/auth/me"):
            answer = await client.get(API + path)
            assert_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
            assert "127.0.0.1" not in answer.text
        answer = await client.post(f"{API}/auth/login", json={"email": "a@example.com", "password": "b"})
        assert_problem(answer, 503)
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["status"] == "down"


async def test_lost_connections_are_made_again(app: Litestar, viewer: httpx.AsyncClient) -> None:
    assert (await viewer.get(f"{API}/items")).status_code == 200
    killer = create_async_engine(app.state.settings.require_database_url())
    async with killer.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'fmrp-api'"
            )
        )
    await killer.dispose()
    for _ in range(3):
        answer = await viewer.get(f"{API}/items")
        assert answer.status_code in (200, 503)
    assert answer.status_code == 200


async def test_a_connection_lost_in_the_middle_is_503(
    app: Litestar, viewer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = items_repository.find

    async def cut_off(session, code):  # type: ignore[no-untyped-def]
        async with app.state.connections.engine.connect() as other:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        return await find(session, code)

    monkeypatch.setattr(items_repository, "find", cut_off)
    assert_problem(await viewer.get(f"{API}/demand/A-100"), 503)


async def test_a_failure_at_commit_is_never_told_as_success(app: Litestar, operator: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        await session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'no job today' USING ERRCODE = 'integrity_constraint_violation'; END $$"
            )
        )
        await session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON job DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    problem = assert_problem(await operator.post(f"{API}/jobs", json={"kind": "plan"}), 500)
    assert "no job today" not in json.dumps(problem)
    files = {"file": ("items.csv", b"a;b\n1;2\n")}
    upload = await operator.post(f"{API}/sources/uploads", files=files, data={"mapping": "erp_items"})
    assert_problem(upload, 500)
    async with app.state.connections.sessions() as session:
        for table in ("job", "source_file"):
            assert (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0
    assert await app.state.connections.events.newest_id() == "0-0", "an event told of a job that does not exist"


async def test_a_browser_elsewhere_may_call_only_when_named(settings: Settings) -> None:
    allowed = settings.model_copy(update={"allowed_origins": ("https://plant.example",)})
    app = build_app(allowed, None)  # type: ignore[arg-type]
    async with started(app), http_client(app) as client:
        user = await add_user(app.state.connections, "viewer")
        headers = bearer(token_for(app, user.id))
        for origin, named in (("https://plant.example", "https://plant.example"), ("https://evil.example", None)):
            answer = await client.get(f"{API}/items", headers={**headers, "Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == named
