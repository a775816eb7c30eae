"""Secrets open only where they belong, under the keys there are, and only what may be read is read."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from actors.config_secrets import SEALED, SET, is_sealed
from actors.connectors import BadConfig
from actors.secrets import LARGEST_FILE, SecretError, encrypted_anew, opened, shown, to_store, tried
from cluster.local.secrets import load_or_create_keys
from fmrp_sdk import CheckResult
from settings import Settings

SECRET = "correct-horse-42"
OLD, NEW = (base64.urlsafe_b64encode(name * 16).decode() for name in (b"ol", b"nw"))


class Login(BaseModel):
    user: str
    password: SecretStr

    @field_validator("password")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < 5:
            raise ValueError(f"{value.get_secret_value()!r} is too short")
        return value


class ErpConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    token: SecretStr | None = None
    logins: list[Login] = []


class Erp:
    """A connector that only has a configuration."""

    api_version: ClassVar[int] = 1
    name: ClassVar[str] = "erp"
    version: ClassVar[str] = "1"
    config_model: ClassVar[type[BaseModel]] = ErpConfig

    def check(self, config: Any) -> CheckResult:
        return CheckResult(True, "")

    def discover(self, config: Any) -> list[Any]:
        return []

    def read(self, config: Any, state: Any) -> Iterator[Any]:
        return iter(())


class Other(Erp):
    name: ClassVar[str] = "other"


def settings(keys: str | None = NEW, **rest: Any) -> Settings:
    return Settings(secret_keys=SecretStr(keys) if keys else None, _env_file=None, **rest)  # type: ignore[call-arg]


def stored(given: dict[str, Any], by: Settings | None = None) -> dict[str, Any]:
    return to_store({"host": "h", **given}, {}, Erp, "plant", by or settings())


def token(config: dict[str, Any], by: Settings | None = None, source: str = "plant", connector: Any = Erp) -> str:
    found = opened(config, connector, source, by or settings())
    assert isinstance(found, ErpConfig)
    assert found.token is not None
    return found.token.get_secret_value()


def refused(config: dict[str, Any], by: Settings | None = None, **where: Any) -> str:
    with pytest.raises(SecretError) as error:
        token(config, by, **where)
    assert SECRET not in str(error.value)
    # Neither the encrypted text nor what led here is told.
    assert "gAAAA" not in str(error.value)
    assert error.value.__cause__ is None
    return str(error.value)


def test_a_secret_is_stored_encrypted_and_opens() -> None:
    config = stored({"token": SECRET, "logins": [{"user": "anna", "password": SECRET}]})
    assert SECRET not in json.dumps(config)
    assert config["logins"][0]["user"] == "anna"
    assert is_sealed(config["token"])
    assert token(config) == SECRET
    assert shown(Erp, config) == {"host": "h", "token": SET, "logins": [{"user": "anna", "password": SET}]}
    # The same secret twice is not seen to be the same.
    assert config["token"] != config["logins"][0]["password"]


def test_moved_to_another_source_connector_or_field_it_does_not_open() -> None:
    config = stored({"token": SECRET, "logins": [{"user": "anna", "password": SECRET}]})
    moved = {"host": "h", "token": config["logins"][0]["password"]}
    assert refused(config, source="theirs") == (
        "source theirs: config.token: was encrypted for another source or field and moved here: give the secret anew"
    )
    assert "moved here" in refused(config, connector=Other)
    assert "moved here" in refused(moved)
    # Nor does the API take an encrypted text for a secret.
    with pytest.raises(SecretError, match=r"expected the secret itself|moved here"):
        stored({"token": moved["token"]})
    with pytest.raises(SecretError, match="expected the secret itself"):
        stored({"token": config["token"]})


def test_what_was_tampered_with_or_encrypted_by_a_key_that_is_gone_is_told_by_its_field() -> None:
    config = stored({"token": SECRET})
    text = config["token"][SEALED]
    for broken in (text[:-8] + "AAAAAAA=", "", "no token", "gAAAA", "é"):
        assert "source plant: config.token: cannot be decrypted" in refused({"host": "h", "token": {SEALED: broken}})
    assert "bring back the key" in refused(config, settings(OLD))
    assert refused(config, settings(None)).endswith("is encrypted, and FMRP_SECRET_KEYS is not set here")


def test_without_a_key_no_secret_is_stored_and_references_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SecretError, match=r"source plant: config\.token: FMRP_SECRET_KEYS is not set") as error:
        stored({"token": SECRET}, settings(None))
    assert SECRET not in str(error.value)
    assert stored({}, settings(None)) == {"host": "h"}
    monkeypatch.setenv("FMRP_SOURCE_TOKEN", SECRET)
    config = stored({"token": "env:FMRP_SOURCE_TOKEN"}, settings(None))
    assert config == {"host": "h", "token": "env:FMRP_SOURCE_TOKEN"} == shown(Erp, config)
    assert token(config, settings(None)) == SECRET
    # To try something out, nothing is stored.
    assert isinstance(tried({"host": "h", "token": SECRET}, {}, Erp, "plant", settings(None)), ErpConfig)


def test_keys_are_rotated() -> None:
    config = stored({"token": SECRET}, settings(OLD))
    both = settings(f"{NEW}, {OLD}")
    assert token(config, both) == SECRET
    fresh, count = encrypted_anew(config, Erp, "erp", "plant", both)
    assert (count, token(fresh, settings(NEW))) == (1, SECRET)
    # What was stored in clear by an earlier version is encrypted, in the same way or at its next change.
    legacy = {"host": "h", "token": SECRET, "logins": [{"user": "u", "password": "env:FMRP_SOURCE_X"}]}
    fresh, count = encrypted_anew(legacy, Erp, "erp", "plant", both)
    assert (count, fresh["logins"], is_sealed(fresh["token"])) == (1, legacy["logins"], True)
    assert is_sealed(to_store({"host": "new"}, {"host": "h", "token": SECRET}, Erp, "plant", both)["token"])
    # Without its connector only what is encrypted is known to be secret.
    fresh, count = encrypted_anew({**config, "path": "p"}, None, "erp", "plant", both)
    assert (count, fresh["path"], token({"host": "h", "token": fresh["token"]})) == (1, "p", SECRET)


def test_a_secret_that_cannot_be_opened_any_more_can_be_given_anew() -> None:
    config = stored({"token": SECRET}, settings(OLD))
    with pytest.raises(SecretError, match="cannot be decrypted"):
        to_store({"host": "new"}, config, Erp, "plant", settings(NEW))
    assert token(to_store({"host": "h", "token": "another"}, config, Erp, "plant", settings(NEW))) == "another"


@pytest.mark.parametrize(
    "reference",
    ["env:FMRP_TOKEN_SECRET", "env:PATH", "env:", "env:FMRP_SOURCE_A B", "env:fmrp_source_x", "env:FMRP_SOURCE"],
)
def test_only_variables_meant_for_it_are_read(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reference.removeprefix("env:") or "X", SECRET)
    assert "expected env:FMRP_SOURCE_..." in refused({"host": "h", "token": reference})
    with pytest.raises(SecretError, match="expected env:FMRP_SOURCE_"):
        stored({"token": reference})


def test_a_variable_that_is_not_set_is_named() -> None:
    assert refused({"host": "h", "token": "env:FMRP_SOURCE_NONE"}).endswith("variable FMRP_SOURCE_NONE is not set here")


def test_files_are_read_anew_each_time_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    for version, content in (("v1", f"{SECRET}\n"), ("v2", "another-secret\r\n")):
        (folder / version).mkdir(parents=True)
        (folder / version / "token").write_bytes(content.encode())
    (folder / "..data").symlink_to("v1")
    (folder / "token").symlink_to("..data/token")
    by, config = settings(secret_folder=folder), {"host": "h", "token": f"file:{folder}/token"}
    assert stored({"token": config["token"]}, by) == config
    assert token(config, by) == SECRET
    (folder / "..data").unlink()
    (folder / "..data").symlink_to("v2")
    assert token(config, by) == "another-secret"


def test_no_other_files_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    (folder / "link").symlink_to(outside)
    (folder / "large").write_text(SECRET * LARGEST_FILE)
    (folder / "empty").touch()
    (folder / "bytes").write_bytes(b"\xff\xfe")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    by = settings(secret_folder=folder)
    for name, reason in {
        f"{outside}": f"expected a file below {folder}",
        f"{folder}/../outside": f"expected a file below {folder}",
        f"{folder}/link": f"expected a file below {folder}",
        f"{folder}": "is not a file",
        f"{folder}/pipe": "is not a file",
        f"{folder}/large": "expected 1 to 65,536 bytes",
        f"{folder}/empty": "expected 1 to 65,536 bytes",
        f"{folder}/bytes": "is not text in UTF-8",
        f"{folder}/none": "cannot be read: No such file",
        f"{folder}/loop": "cannot be read",
        f"{folder}/\0": "cannot be read: no such path",
        "relative": "cannot be read",
        "": f"expected a file below {folder}",
    }.items():
        assert reason in refused({"host": "h", "token": f"file:{name}"}, by)
    assert "FMRP_SECRET_FOLDER is not set" in refused({"host": "h", "token": f"file:{outside}"})


def test_what_does_not_fit_is_told_without_the_secret() -> None:
    for given, field in (({"token": [SECRET]}, "token"), ({SECRET: 1}, SECRET), ({"colour": SECRET}, "colour")):
        with pytest.raises(BadConfig) as error:
            stored(given)
        assert error.value.errors.keys() == {field}
        assert error.value.__cause__ is None
    # A validator of the connector's may repeat what it was given.
    with pytest.raises(BadConfig, match=r"logins\.0\.password: '\[redacted\]' is too short") as error:
        stored({"logins": [{"user": "u", "password": "pass"}]})
    with pytest.raises(BadConfig, match="source plant: config: host: Field required"):
        opened({}, Erp, "plant", settings())


@pytest.mark.parametrize("keys", ["short", "Zm9v", f"{NEW},", f"{NEW};{OLD}", "ü" * 43])
def test_keys_that_are_none_are_refused_without_showing_them(keys: str) -> None:
    with pytest.raises(ValidationError, match="fmrp secrets key") as error:
        settings(keys)
    assert keys not in str(error.value)


def test_settings_of_secrets_are_checked() -> None:
    assert settings("").fernet_keys() == []
    for prefix in ("", "FMRP_", "fmrp_t", "FMRP_SECRET_KEYS"):
        with pytest.raises(ValidationError):
            settings(secret_env_prefix=prefix)
    assert settings(secret_env_prefix="FMRP_SOURCE_").secret_env_prefix == settings().secret_env_prefix
    with pytest.raises(ValidationError, match="absolute"):
        settings(secret_folder=Path("secrets"))


def test_the_embedded_stack_makes_a_key_once_for_its_owner_only(tmp_path: Path) -> None:
    made = load_or_create_keys(tmp_path)
    file = tmp_path / "secret_keys"
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_or_create_keys(tmp_path) == made
    file.write_text(f"{NEW}\n{made}\n")
    assert [key.get_secret_value() for key in settings(load_or_create_keys(tmp_path)).fernet_keys()] == [NEW, made]
    file.write_text("nonsense")
    with pytest.raises(ValueError, match="secret_keys, line 1: expected a key"):
        load_or_create_keys(tmp_path)
