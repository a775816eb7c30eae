"""Sources are set up, checked and read through the API; their secrets come in and never come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from erp_connector import ErpConfig, ErpConnector
from litestar import Litestar
from serve_world import API, add_source, assert_problem
from source_world import PASSWORD, SOURCES, erp, install
from sqlalchemy import select, text

from actors.config_secrets import is_sealed
from actors.secrets import opened
from db.models import AuditEntry, Source
from db.repositories import sources


@pytest.fixture
async def admin(app: Litestar, by_role: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    install(app)
    return by_role["admin"]


async def stored(app: Litestar, code: str = "erp") -> Source:
    async with app.state.connections.sessions() as session:
        return (await session.execute(select(Source).where(Source.code == code))).scalar_one()


async def stored_password(app: Litestar) -> str:
    """As the connector gets it; in the database it is not to be read."""
    source = await stored(app)
    assert is_sealed(source.config["password"])
    config = opened(source.config, ErpConnector, "erp", app.state.settings)
    assert isinstance(config, ErpConfig)
    assert config.password is not None
    return config.password.get_secret_value()


def fields(problem: dict[str, Any]) -> set[str]:
    return {each["field"] for each in problem["errors"]}


async def test_a_source_is_added_found_changed_deleted_and_brought_back(
    app: Litestar, admin: httpx.AsyncClient
) -> None:
    made = await admin.post(SOURCES, json=erp())
    assert made.status_code == 201, made.text
    where = made.headers["location"]
    assert where == f"{SOURCES}/erp"
    found = await admin.get(where)
    assert found.json() == made.json()
    assert (await admin.get(f"{SOURCES}/{found.json()['id']}")).json() == found.json()
    assert found.json()["rules"] == erp()["rules"]
    assert [each["code"] for each in (await admin.get(SOURCES)).json()["items"]] == ["erp"]

    changed = await admin.patch(where, json={"name": "ERP, old", "active": False})
    assert (changed.json()["name"], changed.json()["active"], changed.json()["revision"]) == ("ERP, old", False, 2)

    assert (await admin.delete(where)).status_code == 204
    for method in ("GET", "DELETE"):
        assert_problem(await admin.request(method, where), 404)
    assert_problem(await admin.patch(where, json={"name": "x"}), 404)
    assert (await admin.get(SOURCES)).json()["items"] == []
    assert_problem(await admin.post(SOURCES, json=erp()), 409)
    assert (await admin.get(f"{where}/runs")).status_code == 200  # its history stays

    assert (await admin.post(f"{where}/restore")).json()["name"] == "ERP, old"
    assert_problem(await admin.post(f"{where}/restore"), 404)
    assert (await admin.get(where)).status_code == 200


async def test_secrets_come_in_and_never_come_out(app: Litestar, admin: httpx.AsyncClient) -> None:
    answers = [await admin.post(SOURCES, json=erp())]
    answers.append(await admin.get(f"{SOURCES}/erp"))
    answers.append(await admin.get(SOURCES))
    # Left out, or given back as it was shown, a secret stays.
    answers.append(await admin.patch(f"{SOURCES}/erp", json={"config": {"host": "new.example"}}))
    assert answers[-1].json()["config"] == {"host": "new.example", "password": "(set)"}
    answers.append(await admin.patch(f"{SOURCES}/erp", json={"config": answers[-1].json()["config"]}))
    assert await stored_password(app) == PASSWORD
    answers.append(await admin.patch(f"{SOURCES}/erp", json={"config": {"host": "new.example", "password": None}}))
    assert answers[-1].json()["config"] == {"host": "new.example"}
    assert (await stored(app)).config == {"host": "new.example"}
    # Nor does it come out of what is refused, or of the audit log.
    answers.append(
        await admin.patch(f"{SOURCES}/erp", json={"config": {"host": 1, "password": PASSWORD, "x": PASSWORD}})
    )
    assert_problem(answers[-1], 409)
    answers.append(await admin.get(f"{API}/audit", params={"limit": 100}))
    assert answers[-1].json()["total"] >= 3
    assert all(PASSWORD not in answer.text for answer in answers)


async def test_what_no_connector_knows_counts_as_secret(app: Litestar, admin: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        await add_source(session)  # a password, which the folder connector does not ask for
        await sources.put(session, Source(code="old", name="Old", connector="gone", config={"host": "h"}, rules=[]))
    assert (await admin.get(f"{SOURCES}/inbox")).json()["config"] == {"password": "(set)"}
    assert (await admin.get(f"{SOURCES}/old")).json()["config"] == {"host": "(set)"}


async def test_secrets_do_not_pass_to_another_connector(
    app: Litestar, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    await admin.post(SOURCES, json=erp())
    change = {"connector": "folder", "config": {"path": str(tmp_path)}}
    assert (await admin.patch(f"{SOURCES}/erp", json=change)).status_code == 200
    assert (await stored(app)).config == {"path": str(tmp_path)}
    back = await admin.patch(f"{SOURCES}/erp", json={"connector": "erp", "config": {"host": "h", "password": "(set)"}})
    assert back.json()["config"] == {"host": "h"}


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"connector": "nothing"}, {"connector"}),
        ({"config": {}}, {"config.host"}),
        ({"config": {"host": "h", "colour": "red"}}, {"config.colour"}),
        ({"connector": "folder", "config": {"path": "relative"}}, {"config.path"}),
        (
            {"rules": [{"pattern": "*", "mapping": "erp_items"}, {"pattern": "*", "mapping": "none"}]},
            {"rules.1.mapping"},
        ),
        ({"code": "upload"}, {"code"}),
        ({"code": "runs"}, {"code"}),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_field(
    admin: httpx.AsyncClient, given: dict[str, Any], at: set[str]
) -> None:
    assert fields(assert_problem(await admin.post(SOURCES, json=erp(**given)), 409)) == at
    assert (await admin.get(SOURCES)).json()["items"] == []


async def test_of_two_who_change_a_source_one_wins(admin: httpx.AsyncClient) -> None:
    read = await admin.post(SOURCES, json=erp())
    seen = {"If-Match": read.headers["etag"]}
    assert (await admin.patch(f"{SOURCES}/erp", json={"name": "first"}, headers=seen)).status_code == 200
    assert_problem(await admin.patch(f"{SOURCES}/erp", json={"name": "second"}, headers=seen), 412)
    assert_problem(await admin.delete(f"{SOURCES}/erp", headers=seen), 412)
    now = await admin.get(f"{SOURCES}/erp")
    assert now.json()["name"] == "first"
    again = await admin.get(f"{SOURCES}/erp", headers={"If-None-Match": now.headers["etag"]})
    assert again.status_code == 304


async def test_changes_are_in_the_audit_log_with_who_made_them(app: Litestar, admin: httpx.AsyncClient) -> None:
    await admin.post(SOURCES, json=erp())
    await admin.patch(f"{SOURCES}/erp", json={"active": False})
    async with app.state.connections.sessions() as session:
        query = select(AuditEntry).where(AuditEntry.entity == "source").order_by(AuditEntry.id)
        made, changed = (await session.execute(query)).scalars()
    assert (made.action, made.actor) == ("insert", "admin@example.com")
    assert (changed.before, changed.after) == ({"active": True}, {"active": False})


async def test_installed_connectors_say_what_they_must_be_told(admin: httpx.AsyncClient) -> None:
    found = {each["name"]: each for each in (await admin.get(f"{SOURCES}/connectors")).json()["items"]}
    assert found["erp"]["secret_fields"] == ["logins", "password"]
    assert found["folder"]["config_schema"]["required"] == ["path"]
    assert found["folder"]["capabilities"] == ["check", "discover", "read"]
    assert found["folder"]["problem"] is None


@pytest.mark.parametrize(
    ("config", "ok", "says"),
    [
        (None, True, "3 files wait"),
        ({"host": "down"}, False, "erp.example is down: try again later"),
        ({"host": "broken"}, False, "the connector erp failed over it: KeyError"),
        ({}, False, "host: Field required"),
    ],
)
async def test_a_check_answers_or_says_what_is_wrong(
    admin: httpx.AsyncClient, config: dict[str, Any] | None, ok: bool, says: str
) -> None:
    await admin.post(SOURCES, json=erp())
    answer = await admin.post(f"{SOURCES}/erp/check", json={} if config is None else {"config": config})
    assert answer.status_code == 200
    assert answer.json()["ok"] is ok
    assert says in answer.json()["message"]
    assert PASSWORD not in answer.text
    # The stored secret goes along with settings that are tried out.
    assert ErpConnector.asked == ([] if config == {} else [PASSWORD])


async def test_a_source_that_hangs_holds_nobody_up(
    app: Litestar, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.routes.source_actions.PATIENCE_S", 0.05)
    await admin.post(SOURCES, json=erp(config={"host": "hangs"}))
    try:
        told = [(await admin.post(f"{SOURCES}/erp/check", json={})).json() for _ in range(5)]
    finally:
        ErpConnector.over.set()
    assert not any(each["ok"] for each in told)
    assert "no answer within 0.05 seconds" in told[0]["message"]
    assert "other questions still wait" in told[4]["message"]


async def test_reading_a_source_starts_one_job(app: Litestar, admin: httpx.AsyncClient) -> None:
    await admin.post(SOURCES, json=erp())
    key = {"Idempotency-Key": "morning"}
    first = await admin.post(f"{SOURCES}/erp/ingest", headers=key)
    assert first.status_code == 202
    assert (first.json()["kind"], first.json()["parameters"]) == ("ingest", {"source": "erp"})
    assert (await admin.post(f"{SOURCES}/erp/ingest", headers=key)).json()["id"] == first.json()["id"]
    await admin.post(SOURCES, json=erp(code="other"))
    assert_problem(await admin.post(f"{SOURCES}/other/ingest", headers=key), 409)
    await admin.patch(f"{SOURCES}/other", json={"active": False})
    assert_problem(await admin.post(f"{SOURCES}/other/ingest"), 409)
    async with app.state.connections.sessions() as session:
        assert (await session.execute(text("SELECT count(*) FROM job"))).scalar_one() == 1


async def test_uploads_by_hand_are_no_source_to_change(app: Litestar, admin: httpx.AsyncClient) -> None:
    async with app.state.connections.sessions.begin() as session:
        await sources.put(session, Source(code=sources.UPLOAD, name="Uploads by hand", connector="upload"))
    where = f"{SOURCES}/{sources.UPLOAD}"
    assert_problem(await admin.patch(where, json={"name": "x"}), 409)
    assert_problem(await admin.delete(where), 409)
    assert_problem(await admin.post(f"{where}/ingest"), 409)


async def test_a_restart_does_not_undo_what_people_have_changed(app: Litestar, admin: httpx.AsyncClient) -> None:
    def shipped() -> Source:
        return Source(code="erp", name="As shipped", connector="erp", config={"host": "new"}, rules=[])

    await admin.post(SOURCES, json=erp())
    async with app.state.connections.sessions.begin() as session:
        await sources.put(session, shipped())
    assert (await stored(app)).name == "As shipped"
    await admin.patch(f"{SOURCES}/erp", json={"name": "Ours"})
    await admin.delete(f"{SOURCES}/erp")
    async with app.state.connections.sessions.begin() as session:
        await sources.put(session, shipped())
    assert (await stored(app)).name == "Ours"
    assert_problem(await admin.get(f"{SOURCES}/erp"), 404)
