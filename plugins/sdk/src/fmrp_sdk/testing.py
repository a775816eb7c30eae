"""Conformance kit: subclass `ConnectorConformance` in a test module, fill in its three parts, and run pytest.

    class TestMyConnector(ConnectorConformance):
        connector_class = MyConnector

        def good_source(self, tmp_path): ...   # config of a source that holds at least three files
        def bad_configs(self, tmp_path): ...   # configs of sources that cannot be reached

What a connector leaves out fails; nothing is skipped in silence.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from fmrp_sdk.connector import API_VERSION, Connector
from fmrp_sdk.errors import FatalError, SkippableError
from fmrp_sdk.types import Batch, CheckResult, State

_SOUNDS_SECRET = re.compile(r"password|passwd|passphrase|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_FUTURE_VERSION = 1_000_000


class ConnectorConformance:
    """The promises of `fmrp_sdk.Connector`, as tests."""

    connector_class: ClassVar[type[Connector]]

    def good_source(self, tmp_path: Path) -> BaseModel:
        """A config whose source holds at least three files that can be taken; build the source under `tmp_path`."""
        raise NotImplementedError("good_source: the kit cannot judge a connector without a source")

    def bad_configs(self, tmp_path: Path) -> list[BaseModel]:
        """Configs of sources that cannot be reached: missing, refused, down."""
        raise NotImplementedError("bad_configs: the kit cannot judge check() without a source that fails")

    # -- config ------------------------------------------------------------------------------------------------------

    def test_declares_name_version_and_api(self) -> None:
        assert self.connector_class.api_version == API_VERSION
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", self.connector_class.name)
        assert self.connector_class.version
        assert isinstance(self.connector_class(), Connector)

    def test_config_has_a_json_schema_with_every_field_described(self) -> None:
        schema = self.connector_class.config_model.model_json_schema()
        json.dumps(schema)
        bare = [name for name, field in schema.get("properties", {}).items() if not field.get("description")]
        assert not bare, f"fields without a description: {bare}"

    def test_secrets_are_marked(self) -> None:
        bare = sorted(_unmarked_secrets(self.connector_class.config_model))
        assert not bare, f"these fields sound secret and are not SecretStr: {bare}"

    # -- check -------------------------------------------------------------------------------------------------------

    def test_check_accepts_a_good_source(self, tmp_path: Path) -> None:
        result = self.connector_class().check(self.good_source(tmp_path))
        assert isinstance(result, CheckResult)
        assert result.ok, result.message

    def test_check_fails_well(self, tmp_path: Path) -> None:
        configs = self.bad_configs(tmp_path)
        assert configs, "bad_configs gave none"
        for config in configs:
            result = self.connector_class().check(config)
            assert not result.ok
            assert len(result.message) >= 10, f"not a sentence to act on: {result.message!r}"
            for secret in _secret_values(config):
                assert secret not in result.message

    # -- discover and read -------------------------------------------------------------------------------------------

    def test_discovery_is_stable(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        first = self.connector_class().discover(config)
        assert len([info for info in first if info.problem is None]) >= 3
        assert self.connector_class().discover(config) == first
        assert len({info.name for info in first}) == len(first)

    def test_two_reads_are_equal(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        first = _taken(self._read(config, None))
        assert len(first) >= 3
        assert _taken(self._read(config, None)) == first

    def test_empty_state_is_the_beginning(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        assert _taken(self._read(config, {})) == _taken(self._read(config, None))

    def test_content_is_bounded(self, tmp_path: Path) -> None:
        for batch in self._read(self.good_source(tmp_path), None):
            try:
                content = batch.file.read()
            except SkippableError:
                continue
            assert len(content) <= batch.file.max_bytes
            assert batch.file.modified_at.tzinfo is not None

    def test_reading_resumes_from_each_state_without_gap_or_duplicate(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        whole = _taken(self._read(config, None))
        for stop in range(1, len(whole) + 1):
            before: list[tuple[str, bytes | None]] = []
            state: State = {}
            for batch in self._read(config, None):
                before.append(_content(batch))
                state = _round_trip(batch.state)
                if len(before) == stop:
                    break  # the process was killed here; nothing after this batch was stored
            assert before + _taken(self._read(config, state)) == whole, f"resumed after batch {stop}"

    def test_state_is_versioned_json_and_free_of_secrets(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        secrets = _secret_values(config)
        for batch in self._read(config, None):
            assert isinstance(batch.state.get("version"), int)
            text = json.dumps(dict(batch.state))
            assert json.loads(text) == batch.state
            assert not any(secret in text for secret in secrets)

    def test_state_of_a_newer_version_gives_nothing_or_a_fatal_error(self, tmp_path: Path) -> None:
        config = self.good_source(tmp_path)
        states = [batch.state for batch in self._read(config, None)]
        future = {**states[0], "version": _FUTURE_VERSION}
        try:
            given = list(self._read(config, future))
        except FatalError:
            return
        assert given == []

    def _read(self, config: BaseModel, state: State | None) -> Iterator[Batch]:
        return self.connector_class().read(config, state)


def _content(batch: Batch) -> tuple[str, bytes | None]:
    """Name and content of a batch; a file that cannot be taken counts with None."""
    try:
        return batch.file.name, batch.file.read()
    except SkippableError:
        return batch.file.name, None


def _taken(batches: Iterator[Batch]) -> list[tuple[str, bytes | None]]:
    return [_content(batch) for batch in batches]


def _round_trip(state: State) -> Mapping[str, Any]:
    """The state as it comes back from storage."""
    stored: Mapping[str, Any] = json.loads(json.dumps(dict(state)))
    return stored


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _is_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(_is_secret(argument) for argument in get_args(annotation))


def _unmarked_secrets(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if _SOUNDS_SECRET.search(name) and not _is_secret(field.annotation):
            yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _unmarked_secrets(inner, f"{prefix}{name}.")


def _secret_values(config: BaseModel) -> list[str]:
    """Every secret in a config, in clear, to prove that it appears nowhere else."""
    found: list[str] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, SecretStr):
            found.append(value.get_secret_value())
        elif isinstance(value, SecretBytes):
            found.append(value.get_secret_value().decode(errors="replace"))
        elif isinstance(value, BaseModel):
            found.extend(_secret_values(value))
    return [secret for secret in found if secret]
