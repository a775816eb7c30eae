"""Secrets are found by the types of a configuration, wherever they are; what stays is told by what is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    WithJsonSchema,
)
from typing_extensions import TypeAliasType, TypedDict

from actors.config_secrets import (
    SEALED,
    SET,
    Ambiguous,
    Path,
    filled_in,
    is_sealed,
    map_secrets,
    secret_fields,
    secret_values,
    told,
)

Token = NewType("Token", SecretStr)
Hidden = TypeAliasType("Hidden", Annotated[SecretStr | None, Field(description="hidden")])


class Basic(BaseModel):
    kind: Literal["basic"] = "basic"
    user: str
    password: SecretStr


class OAuth(BaseModel):
    kind: Literal["oauth"] = "oauth"
    client_secret: Annotated[SecretStr, WithJsonSchema({"type": "string"})]
    scopes: list[str] = []


@dataclass
class Proxy:
    address: str
    pin: Secret[int]


class Certificate(TypedDict):
    name: str
    key: SecretBytes


class Pair(NamedTuple):
    name: str
    value: SecretStr


class Headers(RootModel[dict[str, SecretStr]]):
    pass


class Server(BaseModel):
    host: str
    password: SecretStr
    spare: Server | None = None


class Config(BaseModel):
    """One of everything."""

    model_config = ConfigDict(extra="allow")

    host: str
    auth: Annotated[Basic | OAuth, Field(discriminator="kind")] | Literal["none"] = "none"
    proxy: Proxy | None = None
    certificates: tuple[Certificate, ...] = ()
    pairs: list[Pair] = []
    headers: Headers | None = None
    servers: list[Server] = []
    tokens: Mapping[str, list[Token]] = {}
    hidden: Hidden = None
    key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("apiKey", "api-key"))
    options: dict[str, Any] = {}
    size: int | None = None


FULL: dict[str, Any] = {
    "host": "erp.example",
    "auth": {"kind": "oauth", "client_secret": "s-1", "scopes": ["read"]},
    "proxy": {"address": "proxy.example", "pin": 1234},
    "certificates": [{"name": "ours", "key": "s-2"}],
    "pairs": [["ours", "s-3"]],
    "headers": {"X-Key": "s-4"},
    "servers": [{"host": "a", "password": "s-5", "spare": {"host": "b", "password": "s-6", "spare": None}}],
    "tokens": {"read": ["s-7", "s-8"]},
    "hidden": "s-9",
    "apiKey": "s-10",
    "options": {"depth": {"is": [1, "open"]}},
    "size": 5,
    "pasword": "s-11",
}
SECRET_PATHS = {
    "auth.client_secret", "proxy.pin", "certificates.0.key", "pairs.0.0", "pairs.0.1", "headers.X-Key",
    "servers.0.password", "servers.0.spare.password", "tokens.read.0", "tokens.read.1", "hidden", "apiKey", "pasword",
}  # fmt: skip


def seal(path: Path, value: Any) -> Any:
    """As good as encrypted, for tests of where."""
    return {SEALED: json.dumps([told(path), value])}


def unseal(path: Path, value: Any) -> Any:
    was_at, found = json.loads(value[SEALED])
    assert was_at == told(path), "a secret was looked for where it was not stored"
    return found


def test_every_secret_is_found_and_nothing_else() -> None:
    found: dict[str, Any] = {}

    def see(path: Path, value: Any) -> str:
        found[told(path)] = value
        return SET

    shown = map_secrets(Config, FULL, see)
    assert found.keys() == SECRET_PATHS  # of a named tuple's values any may be the secret one
    assert shown["auth"] == {"kind": "oauth", "client_secret": SET, "scopes": ["read"]}
    assert shown["servers"] == [{"host": "a", "password": SET, "spare": {"host": "b", "password": SET, "spare": None}}]
    assert {name: shown[name] for name in ("host", "options", "size")} == {
        n: FULL[n] for n in ("host", "options", "size")
    }
    assert map_secrets(Config, map_secrets(Config, FULL, seal), unseal) == FULL


def test_values_of_another_shape_than_the_model_has_count_as_secret() -> None:
    for value in ("s-1", ["s-1"], [["s-1"]]):
        assert map_secrets(Config, {"proxy": value}, lambda _, __: SET) in ({"proxy": SET}, {"proxy": [SET]})
    assert map_secrets(Config, {"auth": "none"}, lambda _, __: SET) == {"auth": "none"}
    assert map_secrets(Config, {"host": {"password": "s-1"}}, lambda _, __: SET) == {"host": SET}
    assert map_secrets(None, {"host": "h", "port": None}, lambda _, __: SET) == {"host": SET, "port": None}


def test_fields_with_secrets_are_named_also_where_a_model_holds_itself() -> None:
    assert secret_fields(Config) == {
        "auth", "proxy", "certificates", "pairs", "headers", "servers", "tokens", "hidden", "key",
    }  # fmt: skip
    assert secret_fields(Server) == {"password", "spare"}


def test_the_values_of_all_secrets_are_known_once_it_is_validated() -> None:
    assert secret_values(Config.model_validate(FULL)) == {"1234", *(f"s-{number}" for number in range(1, 11))}


TEXTS = st.text(max_size=8)
SERVERS: Any = st.deferred(
    lambda: st.fixed_dictionaries({"host": TEXTS, "password": SECRETS, "spare": st.none() | SERVERS})
)
SECRETS = st.text(alphabet="xyz", min_size=1, max_size=8).map(lambda text: f"<secret-{text}>")
CONFIGS = st.fixed_dictionaries(
    {"host": TEXTS},
    optional={
        "auth": st.just("none")
        | st.fixed_dictionaries({"kind": st.just("basic"), "user": TEXTS, "password": SECRETS})
        | st.fixed_dictionaries({"kind": st.just("oauth"), "client_secret": SECRETS, "scopes": st.lists(TEXTS)}),
        "certificates": st.lists(st.fixed_dictionaries({"name": TEXTS, "key": SECRETS}), max_size=3),
        "headers": st.dictionaries(TEXTS, SECRETS, max_size=3),
        "servers": st.lists(SERVERS, max_size=3),
        "tokens": st.dictionaries(TEXTS, st.lists(SECRETS, max_size=3), max_size=2),
        "hidden": st.none() | SECRETS,
    },
)


@given(CONFIGS)
def test_what_is_stored_holds_no_secret_and_opens_to_what_was_given(config: dict[str, Any]) -> None:
    stored = map_secrets(Config, config, lambda path, value: {SEALED: json.dumps([told(path), value]).encode().hex()})
    assert "secret-" not in json.dumps(stored)

    def opened(path: Path, value: Any) -> Any:
        assert is_sealed(value)
        was_at, found = json.loads(bytes.fromhex(value[SEALED]))
        assert was_at == told(path)
        return found

    assert map_secrets(Config, stored, opened) == config


@given(CONFIGS)
def test_what_is_shown_given_back_changes_nothing(config: dict[str, Any]) -> None:
    stored = map_secrets(Config, config, seal)
    shown = map_secrets(Config, stored, lambda _, __: SET)
    assert "secret-" not in json.dumps(shown)
    filled = filled_in(Config, stored, shown, unseal)
    assert filled == {name: value for name, value in config.items() if value is not None}


STORED = map_secrets(
    Config,
    {"host": "h", "hidden": "s-0", "servers": [{"host": host, "password": f"s-{host}"} for host in "abc"]},
    seal,
)


def server(host: str, password: str = SET) -> dict[str, str]:
    return {"host": host, "password": password}


@pytest.mark.parametrize(
    ("servers", "passwords"),
    [
        ([server("a"), server("b"), server("c")], ["s-a", "s-b", "s-c"]),
        ([server("c"), server("a")], ["s-c", "s-a"]),
        ([server("b")], ["s-b"]),
        ([server("a"), server("new"), server("c")], ["s-a", "s-b", "s-c"]),
        ([server("a"), server("b"), server("c", "fresh")], ["s-a", "s-b", "fresh"]),
        ([server("c"), server("d", "fresh")], ["s-c", "fresh"]),
        ([], []),
    ],
)
def test_elements_of_a_list_keep_their_secrets_when_others_move_or_go(servers: list[Any], passwords: list[str]) -> None:
    filled = filled_in(Config, STORED, {"host": "h", "servers": servers}, unseal)
    assert [each["password"] for each in filled["servers"]] == passwords
    assert filled["hidden"] == "s-0"  # left out as a whole, it stays


@pytest.mark.parametrize(
    "servers",
    [
        [server("x"), server("y"), server("c")],
        [server("b"), server("x"), server("c")],
        [server("x")],
        [server("a"), server("b"), server("c"), server("a")],
    ],
)
def test_a_secret_never_goes_to_an_element_it_may_not_belong_to(servers: list[Any]) -> None:
    with pytest.raises(Ambiguous, match=r"servers\.\d: .*give it anew"):
        filled_in(Config, STORED, {"host": "h", "servers": servers}, unseal)


def test_null_clears_a_secret_and_what_was_never_stored_does_not_stay() -> None:
    assert filled_in(Config, STORED, {"host": "h", "hidden": None, "servers": None}, unseal) == {"host": "h"}
    assert filled_in(Config, {}, {"host": "h", "hidden": SET}, unseal) == {"host": "h"}
    # Within a field a secret is given as it is shown, or it is gone: another way to log in has others.
    stored = map_secrets(Config, {"auth": {"kind": "basic", "user": "u", "password": "s"}}, seal)
    other = {"auth": {"kind": "oauth", "client_secret": "new"}}
    assert filled_in(Config, stored, other, unseal) == other
