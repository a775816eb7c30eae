"""Nobody reaches what their role does not allow, and log-in gives nothing away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import jwt
import pytest
from litestar import Litestar, get
from litestar.routes import HTTPRoute, WebSocketRoute
from pydantic import SecretStr
from serve_world import API, PASSWORD, add_user, assert_problem, bearer, http_client, started, token_for
from sqlalchemy import text

from serve import security
from serve.application import build_app
from serve.security import AUDIENCE, ISSUER, RANK, require_role
from settings import Settings

PUBLIC_PATHS = {
    f"{API}/auth/login",
    f"{API}/auth/refresh",
    f"{API}/auth/logout",
    f"{API}/health",
    f"{API}/metrics",
    "/health",
    "/metrics",
    f"{API}/docs",
    f"{API}/docs/openapi.json",
    f"{API}/docs/{{path:str}}",
}
# Sockets and event streams look at ticket or token themselves: test_serve_events.py, test_serve_event_stream.py.
STREAM_PATH = f"{API}/events/stream"
OWN_CHECK_PATHS = {f"{API}/events", STREAM_PATH}
# Nothing is changed here but one's own log-ins and password.
OWN_PATHS = {f"{API}/auth/{name}" for name in ("logout-all", "password", "sessions/{session_id:uuid}")}
SAMPLES = {
    "code:str": "A-100",
    "key:str": "A-100",
    "item:str": "A-100",
    "path:str": "nothing",
    "kind:str": "plan",
    "name:str": "own",
}


def routes(app: Litestar) -> Iterator[tuple[str, str, str]]:
    """(method, path template, role) of every HTTP operation."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                if method != "OPTIONS":
                    yield method, route.path, handler.opt.get("role", "")


def filled(path: str) -> str:
    for name, value in SAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    for name in ("job_id", "run_id", "row_id", "schedule_id", "user_id", "key_id", "session_id"):
        path = path.replace(f"{{{name}:uuid}}", str(uuid.uuid4()))
    assert "{" not in path, f"{path}: give this test a sample value"
    return path


def test_every_route_names_a_role_and_the_public_ones_are_these(app: Litestar) -> None:
    found = list(routes(app))
    assert len(found) > 25
    for method, path, role in found:
        assert role in RANK or path in PUBLIC_PATHS, f"{method} {path} names no role"
        assert (role == "public") == (path in PUBLIC_PATHS), f"{method} {path} is {role}"
    own_checks = set()
    for route in app.routes:
        if isinstance(route, WebSocketRoute):
            assert route.route_handler.opt["own_check"] is True
            own_checks.add(route.path)
        elif isinstance(route, HTTPRoute):
            handlers = [handler for handler, _ in route.route_handler_map.values()]
            own_checks |= {route.path for handler in handlers if handler.opt.get("own_check")}
    assert own_checks == OWN_CHECK_PATHS


async def test_every_route_wants_a_token(app: Litestar, anyone: httpx.AsyncClient) -> None:
    for method, path, role in routes(app):
        answer = await anyone.request(method, filled(path))
        if role == "public":
            assert answer.status_code != 401, path
        else:
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_refuses_roles_below_its_own_and_lets_the_others_in(
    app: Litestar, by_role: dict[str, httpx.AsyncClient]
) -> None:
    refused = 0
    for method, path, role in routes(app):
        for name, client in by_role.items():
            # The stream lets in whoever has a pass, and then does not end.
            if role == "public" or path == STREAM_PATH:
                continue
            answer = await client.request(method, filled(path))
            if RANK[name] < RANK[role]:
                refused += 1
                assert role in assert_problem(answer, 403)["detail"]
            else:
                assert answer.status_code not in (401, 403), f"{name} {method} {path}"
                assert answer.status_code < 500, f"{name} {method} {path}: {answer.text}"
    assert refused >= 5, "no route needs more than a viewer"


async def test_writing_needs_an_operator(app: Litestar) -> None:
    for method, path, role in routes(app):
        if method != "GET" and path not in PUBLIC_PATHS | OWN_PATHS | {f"{API}/events/ticket"}:
            assert RANK[role] >= RANK["operator"], f"{method} {path}"


async def test_a_route_without_a_role_is_closed_to_everybody() -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return "open"

    @get("/misspelt", opt={"role": "viwer"})
    async def misspelt() -> str:
        return "open"

    tiny = Litestar([forgotten, misspelt], guards=[require_role], openapi_config=None)
    async with http_client(tiny) as client:
        for path in ("/forgotten", "/misspelt"):
            answer = await client.get(path)
            assert answer.status_code == 403
            assert "open" not in answer.json().values()


async def test_log_in_gives_a_token_that_works(app: Litestar, anyone: httpx.AsyncClient) -> None:
    await add_user(app.state.connections, "manager", "maria@example.com")
    answer = await anyone.post(f"{API}/auth/login", json={"email": " Maria@Example.com", "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.json()
    user = {"email": "maria@example.com", "name": "Manager", "role": "manager", "must_change_password": False}
    assert body["user"] == user
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == pytest.approx(900, abs=1)
    me = await anyone.get(f"{API}/auth/me", headers=bearer(body["access_token"]))
    assert me.json() == user


async def test_log_in_tells_nothing_about_which_accounts_exist(
    app: Litestar, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_user(app.state.connections, "viewer", "known@example.com")
    switched_off = await add_user(app.state.connections, "viewer", "off@example.com")
    await switch_off(app, switched_off.id)
    verified: list[str] = []
    verify = security._passwords.verify

    def counting(password: str, password_hash: str) -> bool:
        verified.append(password_hash)
        return verify(password, password_hash)

    monkeypatch.setattr(security._passwords, "verify", counting)
    answers = []
    for email, password in (
        ("known@example.com", "wrong"),
        ("unknown@example.com", PASSWORD),
        ("off@example.com", PASSWORD),
    ):
        answer = await anyone.post(f"{API}/auth/login", json={"email": email, "password": password})
        answers.append(assert_problem(answer, 401))
    assert answers[0] == answers[1] == answers[2]
    assert len(verified) == 3, "an unknown account was answered without the work of a known one"
    assert "m=65536" in verified[1], "the stand-in for unknown accounts is cheaper than a real hash"


async def switch_off(app: Litestar, user_id: str) -> None:
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE user_account SET active = false WHERE id = :id"), {"id": uuid.UUID(user_id)})


async def test_a_switched_off_account_is_out_at_once(app: Litestar, anyone: httpx.AsyncClient) -> None:
    user = await add_user(app.state.connections, "admin")
    headers = bearer(token_for(app, user.id))
    assert (await anyone.get(f"{API}/auth/me", headers=headers)).status_code == 200
    await switch_off(app, user.id)
    assert_problem(await anyone.get(f"{API}/auth/me", headers=headers), 401)


async def test_a_changed_role_counts_at_once(app: Litestar, operator: httpx.AsyncClient) -> None:
    assert (await operator.post(f"{API}/jobs", json={"kind": "plan"})).status_code == 202
    async with app.state.connections.sessions.begin() as session:
        await session.execute(text("UPDATE user_account SET role = 'viewer'"))
    assert_problem(await operator.post(f"{API}/jobs", json={"kind": "plan"}), 403)


async def test_tokens_that_are_not_ours_or_over_are_refused(app: Litestar, anyone: httpx.AsyncClient) -> None:
    user = await add_user(app.state.connections, "admin")
    good = jwt.decode(token_for(app, user.id), options={"verify_signature": False})
    secret = app.state.settings.require_token_secret()
    tokens = {
        "forged": jwt.encode(good, "another-secret-of-a-decent-length-0123", "HS256"),
        "unsigned": jwt.encode(good, None, "none"),
        "other algorithm": jwt.encode(good, secret + "0" * 64, "HS512"),
        "expired": jwt.encode({**good, "exp": good["iat"] - 1}, secret, "HS256"),
        "wrong audience": token_for(app, user.id, token_audience="somebody-else"),
        "wrong issuer": token_for(app, user.id, token_issuer="somebody-else"),
        "no audience": jwt.encode({k: v for k, v in good.items() if k != "aud"}, secret, "HS256"),
        "no expiry": jwt.encode({k: v for k, v in good.items() if k != "exp"}, secret, "HS256"),
        "nobody": token_for(app, str(uuid.uuid4())),
        "no uuid": token_for(app, "root"),
        "garbage": "a.b.c",
    }
    assert good["aud"] in (AUDIENCE, [AUDIENCE])
    assert good["iss"] == ISSUER
    for name, token in tokens.items():
        answer = await anyone.get(f"{API}/auth/me", headers=bearer(token))
        assert answer.status_code == 401, name
        assert_problem(answer, 401)
    answer = await anyone.get(f"{API}/auth/me", headers={"Authorization": "Basic cm9vdDpyb290"})
    assert_problem(answer, 401)


async def test_guessing_is_slowed_down_for_one_account_only(app: Litestar, anyone: httpx.AsyncClient) -> None:
    for name in ("guessed", "other"):
        await add_user(app.state.connections, "viewer", f"{name}@example.com")
    login = f"{API}/auth/login"
    for _ in range(10):
        wrong = await anyone.post(login, json={"email": "guessed@example.com", "password": "wrong"})
        assert wrong.status_code == 401
    limited = await anyone.post(login, json={"email": "Guessed@example.com ", "password": PASSWORD})
    assert_problem(limited, 429)
    assert int(limited.headers["retry-after"]) > 0
    assert (await anyone.post(login, json={"email": "other@example.com", "password": PASSWORD})).status_code == 200


async def test_success_forgets_the_failures_before_it(app: Litestar, anyone: httpx.AsyncClient) -> None:
    await add_user(app.state.connections, "viewer")
    for password in (["wrong"] * 9 + [PASSWORD]) * 2:
        answer = await anyone.post(f"{API}/auth/login", json={"email": "viewer@example.com", "password": password})
        assert answer.status_code == (200 if password == PASSWORD else 401)


async def test_without_redis_people_still_get_in(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")})
    app = build_app(away, None)  # type: ignore[arg-type]  # nothing is predicted here
    async with started(app), http_client(app) as client:
        await add_user(app.state.connections, "viewer")
        answer = await client.post(f"{API}/auth/login", json={"email": "viewer@example.com", "password": PASSWORD})
        assert answer.status_code == 200
        headers = bearer(answer.json()["access_token"])
        assert (await client.get(f"{API}/items", headers=headers)).status_code == 200
        assert_problem(await client.post(f"{API}/events/ticket", headers=headers), 503)
