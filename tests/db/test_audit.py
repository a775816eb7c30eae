"""The database writes down who changed what; nobody can write around it, and no secret is ever in it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from actors.owner import Connections
from db import audit
from db.audit import HIDDEN, act_as
from db.models import KindControl, Source, UserAccount

ADA = "ada@example.com"
SECRET = "$argon2id$do-not-write-this"


async def entries(session: AsyncSession) -> list[Any]:
    return list((await session.execute(text("SELECT * FROM audit_entry ORDER BY id"))).all())


def user(email: str = "bo@example.com") -> UserAccount:
    return UserAccount(id=uuid.uuid4(), email=email, name="Bo", role="viewer", password_hash=SECRET)


async def test_what_an_actor_changes_is_written_with_before_and_after(connections: Connections) -> None:
    bo = user()
    async with connections.sessions.begin() as session:
        await act_as(session, ADA, "request-1")
        session.add(bo)
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        (await session.get_one(UserAccount, bo.id)).role = "manager"
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        await session.delete(await session.get_one(UserAccount, bo.id))
    async with connections.sessions() as session:
        made, changed, gone = await entries(session)
    assert {entry.actor for entry in (made, changed, gone)} == {ADA}
    assert {entry.entity for entry in (made, changed, gone)} == {"user_account"}
    assert {entry.entity_id for entry in (made, changed, gone)} == {str(bo.id)}
    assert [entry.action for entry in (made, changed, gone)] == ["insert", "update", "delete"]
    assert (made.request_id, changed.request_id) == ("request-1", None)
    assert made.before is None
    assert made.after["email"] == "bo@example.com"
    assert (changed.before, changed.after) == ({"role": "viewer"}, {"role": "manager"})
    assert gone.before["role"] == "manager"
    assert gone.after is None


async def test_without_an_actor_nothing_is_written_and_one_transactions_actor_is_not_the_nexts(
    connections: Connections,
) -> None:
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
    async with connections.sessions.begin() as session:
        session.add(user())
    async with connections.sessions() as session:
        assert await entries(session) == []


async def test_no_hidden_value_is_ever_written(connections: Connections) -> None:
    bo = user()
    config = {"password": "hush-hush"}
    source = Source(code="mail", name="Mail", connector="imap", config=config, state={"cursor": "token-1"})
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        session.add_all([bo, source])
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        (await session.get_one(UserAccount, bo.id)).password_hash = SECRET + "2"
        (await session.get_one(Source, source.id)).config = {"password": "hush-hush-2"}
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        await session.delete(await session.get_one(UserAccount, bo.id))
        await session.delete(await session.get_one(Source, source.id))
    async with connections.sessions() as session:
        found = await entries(session)
    assert len(found) == 6
    updates = {entry.entity: (entry.before, entry.after) for entry in found if entry.action == "update"}
    assert updates == {
        "user_account": ({"password_hash": HIDDEN},) * 2,
        "source": ({"config": HIDDEN},) * 2,
    }, "that a password was changed is known, the password is not"
    everything = json.dumps([[entry.before, entry.after] for entry in found])
    assert not any(word in everything for word in ("argon2", "hush", "token-1"))


async def test_an_update_that_changes_nothing_writes_nothing(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        session.add(user())
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        await session.execute(text("UPDATE user_account SET revision = revision + 1, updated_at = now(), name = name"))
    async with connections.sessions() as session:
        assert await entries(session) == []


async def test_upserts_and_natural_keys_and_changed_keys(connections: Connections) -> None:
    upsert = text(
        "INSERT INTO kind_control (kind, paused) VALUES ('plan', true), ('ingest', true) "
        "ON CONFLICT (kind) DO UPDATE SET paused = true"
    )
    async with connections.sessions.begin() as session:
        session.add(KindControl(kind="plan"))
        await session.flush()
        await act_as(session, ADA)
        await session.execute(upsert)
        await session.execute(text("UPDATE kind_control SET kind = 'forecast' WHERE kind = 'ingest'"))
    async with connections.sessions() as session:
        found = {(entry.action, entry.entity_id): entry for entry in await entries(session)}
    assert found.keys() == {("insert", "ingest"), ("update", "plan"), ("delete", "ingest"), ("insert", "forecast")}
    assert found["update", "plan"].after == {"paused": True}


async def test_what_is_rolled_back_is_not_in_the_log(connections: Connections) -> None:
    async with connections.sessions() as session:
        await act_as(session, ADA)
        session.add(user())
        await session.flush()
        assert len(await entries(session)) == 1
        await session.rollback()
        assert await entries(session) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entry SET actor = 'nobody'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"],
)
async def test_the_log_is_only_ever_added_to(connections: Connections, statement: str) -> None:
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        session.add(user())
    async with connections.sessions() as session:
        with pytest.raises(DBAPIError, match="only ever added to"):
            await session.execute(text(statement))


async def test_only_what_says_that_it_expires_the_log_may_shorten_it(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        session.add(user())
    async with connections.sessions.begin() as session:
        await session.execute(text("SET LOCAL fmrp.audit_expiry = 'on'"))
        await session.execute(text("DELETE FROM audit_entry"))
    async with connections.sessions() as session:
        assert await entries(session) == []


async def test_any_table_can_be_watched_and_unwatched(connections: Connections) -> None:
    def prepare(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE pair (a int, b text, token text, PRIMARY KEY (a, b))"))
        audit.watch(connection, "pair", hidden=("token",))

    async with connections.engine.begin() as connection:
        await connection.run_sync(prepare)
    rows = "SELECT n, 'x', 'secret-' || n FROM generate_series(1, 3) AS n"
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        await session.execute(text(f"INSERT INTO pair {rows}"))
    async with connections.engine.begin() as connection:
        await connection.run_sync(audit.unwatch, "pair")
    async with connections.sessions.begin() as session:
        await act_as(session, ADA)
        await session.execute(text("DELETE FROM pair"))
    async with connections.sessions() as session:
        found = await entries(session)
    assert [(entry.entity_id, entry.after) for entry in found] == [(f"{n}/x", {"a": n, "b": "x"}) for n in (1, 2, 3)]


async def test_a_table_without_a_key_or_a_misspelt_column_is_refused(connections: Connections) -> None:
    def prepare(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE keyless (a int)"))
        with pytest.raises(ValueError, match="primary key"):
            audit.watch(connection, "keyless")
        with pytest.raises(ValueError, match="no column pasword"):
            audit.watch(connection, "user_account", hidden=("pasword",))

    async with connections.engine.begin() as connection:
        await connection.run_sync(prepare)


async def test_a_change_without_a_name_is_refused(connections: Connections) -> None:
    async with connections.sessions() as session:
        with pytest.raises(ValueError, match="actor"):
            await act_as(session, "")
