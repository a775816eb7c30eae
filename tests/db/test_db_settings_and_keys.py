"""Keys are time-ordered, URLs name our driver, and secrets stay out of what is printed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from actors.owner import Connections
from db.models import Item
from settings import Settings, normalise_database_url


async def test_surrogate_keys_are_uuids_of_version_7_in_the_order_they_were_made(connections: Connections) -> None:
    async with connections.sessions.begin() as session:
        made = [Item(code=f"I{n}", name="x", kind="component", cost=Decimal(1)) for n in range(20)]
        for item in made:
            session.add(item)
            await session.flush()
    assert {item.id.version for item in made} == {7}
    assert [item.id for item in made] == sorted(item.id for item in made)


async def test_a_row_shows_its_key_only_in_a_log_line(connections: Connections) -> None:
    item = Item(code="SECRET-CODE", name="secret", kind="component")
    assert "secret" not in repr(item).lower()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_spelling_of_postgresql_means_the_asyncpg_driver(scheme: str) -> None:
    assert normalise_database_url(f"{scheme}://u:p%40@h:5432/d?ssl=1") == "postgresql+asyncpg://u:p%40@h:5432/d?ssl=1"


@pytest.mark.parametrize("url", ["", "localhost/db", "postgresql+psycopg://u@h/d", "sqlite:///x", "mysql://u@h/d"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        normalise_database_url(url)


def test_settings_refuse_another_database_and_spell_out_the_driver() -> None:
    with pytest.raises(ValidationError, match="expected a postgresql"):
        Settings(database_url=SecretStr("mysql://u:p@h/d"), _env_file=None)  # type: ignore[call-arg]
    made = Settings(database_url=SecretStr("postgres://u:p@h/d"), _env_file=None)  # type: ignore[call-arg]
    assert made.require_database_url() == "postgresql+asyncpg://u:p@h/d"


def test_no_secret_is_ever_printed() -> None:
    made = Settings(
        database_url=SecretStr("postgresql://u:hush-db@h/d"),
        redis_url=SecretStr("redis://:hush-redis@h/0"),
        token_secret=SecretStr("hush-token" * 4),
        _env_file=None,  # type: ignore[call-arg]
    )
    for shown in (repr(made), str(made), f"{made.model_dump()}", made.model_dump_json()):
        assert "hush" not in shown


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url="mysql://u:hush@h/d", _env_file=None)  # type: ignore[call-arg,arg-type]
    assert "hush" not in str(refused.value)


def test_a_missing_server_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FMRP_DATABASE_URL", "FMRP_REDIS_URL", "FMRP_TOKEN_SECRET"):
        monkeypatch.delenv(name, raising=False)
    made = Settings(_env_file=None)  # type: ignore[call-arg]
    with pytest.raises(RuntimeError, match="FMRP_DATABASE_URL, or start the embedded stack"):
        made.require_database_url()
    with pytest.raises(RuntimeError, match="FMRP_REDIS_URL, or start the embedded stack"):
        made.require_redis_url()
    with pytest.raises(RuntimeError, match="missing or shorter than 32"):
        Settings(token_secret=SecretStr("short"), _env_file=None).require_token_secret()  # type: ignore[call-arg]
