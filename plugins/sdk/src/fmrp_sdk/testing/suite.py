"""The promises of `fmrp_sdk.Connector`, as tests."""

import gc
import json
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, get_args

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from fmrp_sdk.connector import API_VERSION, Connector
from fmrp_sdk.errors import ConnectorError, FatalError, RetriableError
from fmrp_sdk.testing.readings import Given, Reader
from fmrp_sdk.testing.source import Content, SourceUnderTest
from fmrp_sdk.types import CheckResult, FileBatch, FileInfo

_SOUNDS_SECRET = re.compile(r"password|passwd|passphrase|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_FUTURE_VERSION = 1_000_000


class ConnectorSuite:
    """Subclass it with the two classes below. `patience_s`: the longest any single answer of the connector may take."""

    connector_class: ClassVar[type[Connector]]
    source_class: ClassVar[type[SourceUnderTest]]
    patience_s: ClassVar[float] = 20.0

    @pytest.fixture
    def reader(self, connector_source: SourceUnderTest) -> Reader:
        """The connector on its source."""
        return self._reader(connector_source.config())

    def _reader(self, config: BaseModel) -> Reader:
        return Reader(self.connector_class, config, self.patience_s)

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

    def test_config_refuses_what_it_does_not_know(self, connector_source: SourceUnderTest) -> None:
        given = connector_source.config().model_dump()
        with pytest.raises(ValueError, match="no_such_field"):
            self.connector_class.config_model.model_validate({**given, "no_such_field": 1})

    def test_secrets_are_marked(self) -> None:
        bare = sorted(_unmarked_secrets(self.connector_class.config_model))
        assert not bare, f"these fields sound secret and are not SecretStr: {bare}"

    # -- check -------------------------------------------------------------------------------------------------------

    def test_check_accepts_a_good_source(self, reader: Reader) -> None:
        result = reader.check()
        assert isinstance(result, CheckResult)
        assert result.ok, result.message

    def test_check_fails_with_a_sentence_to_act_on(self, connector_source: SourceUnderTest) -> None:
        configs = connector_source.bad_configs()
        assert len(configs) >= 2, "bad_configs: give at least two"
        for config in configs:
            result = self._reader(config).check()
            assert not result.ok, config
            assert len(result.message) >= 10, f"not a sentence to act on: {result.message!r}"

    def test_check_of_a_silent_server_ends(
        self, connector_source: SourceUnderTest, silent_address: tuple[str, int]
    ) -> None:
        config = connector_source.silent_config(*silent_address)
        if config is not None:
            assert not self._reader(config).check().ok

    # -- discover and read -------------------------------------------------------------------------------------------

    def test_discovery_is_stable_and_names_each_once(self, reader: Reader) -> None:
        first = reader.discover()
        assert [offer for offer in first if offer.problem is None]
        assert reader.discover() == first
        assert len({offer.name for offer in first}) == len(first)
        assert all(offer.modified_at.tzinfo is not None for offer in first if isinstance(offer, FileInfo))

    def test_a_reading_gives_everything_once(self, connector_source: SourceUnderTest, reader: Reader) -> None:
        given = reader.read()
        assert len(given) >= 3, "contents: give at least three batches"
        _same(_contents(given), connector_source.contents())

    def test_no_state_and_an_empty_one_are_the_beginning(self, reader: Reader) -> None:
        assert _contents(reader.read({})) == _contents(reader.read(None))

    def test_content_is_bounded(self, reader: Reader) -> None:
        for given in reader.read():
            content = given.batch.content
            if isinstance(content, FileBatch):
                assert content.max_bytes > 0
                assert content.modified_at.tzinfo is not None

    def test_reading_goes_on_from_each_state_without_gap_or_duplicate(
        self, connector_source: SourceUnderTest, reader: Reader
    ) -> None:
        for stop in range(1, len(reader.read()) + 1):
            before = reader.read(at_most=stop)  # the process was killed here; nothing after this batch was stored
            after = reader.read(before[-1].state)
            _same([*_contents(before), *_contents(after)], connector_source.contents(), f"resumed after batch {stop}")

    def test_after_the_last_state_only_what_is_new_is_given(
        self, connector_source: SourceUnderTest, reader: Reader
    ) -> None:
        known = connector_source.contents()
        state = reader.read()[-1].state
        assert _contents(reader.read(state)) == []
        connector_source.add()
        added = _counted(connector_source.contents()) - _counted(known)
        assert added, "add: contents tells of nothing new"
        assert _counted(_contents(reader.read(state))) == added

    def test_state_is_versioned_json_free_of_secrets(self, connector_source: SourceUnderTest, reader: Reader) -> None:
        secrets = _secret_values(connector_source.config())
        for given in reader.read():
            assert isinstance(given.state.get("version"), int)
            assert given.state == dict(given.batch.state), "the state changes on its way through JSON"
            assert not any(secret in json.dumps(given.state) for secret in secrets)

    def test_state_of_a_newer_version_gives_nothing_or_a_fatal_error(self, reader: Reader) -> None:
        future = {**reader.read()[0].state, "version": _FUTURE_VERSION}
        try:
            given = reader.read(future)
        except FatalError:
            return
        assert given == []

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def test_malformed_input_raises_nothing_but_errors_of_the_sdk(
        self, connector_source: SourceUnderTest, reader: Reader
    ) -> None:
        sound = _counted(connector_source.contents())
        connector_source.spoil()
        try:
            given = reader.read()
        except ConnectorError as error:
            assert len(str(error)) >= 10, f"not a sentence to act on: {error}"  # noqa: PT017 - either end is right
            return
        assert not sound - _counted(_contents(given)), "something sound was lost beside something malformed"

    def test_a_source_that_cannot_be_reached_ends_the_reading(self, connector_source: SourceUnderTest) -> None:
        for config in connector_source.bad_configs():
            with pytest.raises((RetriableError, FatalError)) as raised:
                self._reader(config).read()
            assert len(str(raised.value)) >= 10, f"not a sentence to act on: {raised.value}"

    def test_reading_from_a_silent_server_ends_with_a_retriable_error(
        self, connector_source: SourceUnderTest, silent_address: tuple[str, int]
    ) -> None:
        config = connector_source.silent_config(*silent_address)
        if config is not None:
            with pytest.raises(RetriableError):
                self._reader(config).read()

    def test_a_cancelled_reading_leaves_nothing_behind(self, connector_source: SourceUnderTest, reader: Reader) -> None:
        reader.read(at_most=1)  # what is made once and kept, such as a pool of threads, is no leak
        before = _held()
        first = reader.read(at_most=1)
        assert _settles_at(before), "threads or open files are left after a reading was closed early"
        _same([*_contents(first), *_contents(reader.read(first[-1].state))], connector_source.contents())

    def test_secrets_are_never_told(
        self,
        connector_source: SourceUnderTest,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        told: list[str] = []
        configs = [connector_source.config(), *connector_source.bad_configs()]
        for config in configs:
            reader = self._reader(config)
            told += [reader.check().message, repr(config)]
            try:
                told += [repr(reader.discover()), *(repr(given.batch) for given in reader.read())]
            except ConnectorError as error:
                told.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
        out, err = capfd.readouterr()
        text = "\n".join([*told, caplog.text, out, err])
        for secret in {secret for config in configs for secret in _secret_values(config)}:
            assert secret not in text, "a secret was logged, printed or told in a message"

    # -- settling ----------------------------------------------------------------------------------------------------

    def test_settling_twice_is_settling_once(self, connector_source: SourceUnderTest, reader: Reader) -> None:
        contents = connector_source.contents()
        first = reader.read(at_most=1)
        reader.settle(first[-1].state)
        reader.settle(first[-1].state)
        rest = reader.read(first[-1].state)
        _same([*_contents(first), *_contents(rest)], contents, "settled after the first batch")
        for _ in range(2):
            reader.settle(rest[-1].state)
        assert _contents(reader.read(rest[-1].state)) == []


def _contents(given: Iterable[Given]) -> list[Content]:
    return [content for each in given for content in each.contents]


def _counted(contents: Iterable[Content]) -> Counter[str]:
    """Contents as texts, so that they can be counted and shown."""
    return Counter(
        f"{name}: {content!r}" if isinstance(content, bytes) else f"{name}: {sorted(content.items())!r}"
        for name, content in contents
    )


def _same(given: Iterable[Content], expected: Iterable[Content], when: str = "") -> None:
    found, wanted = _counted(given), _counted(expected)
    assert not wanted - found, f"gap {when}: {list(wanted - found)[:3]}"
    assert not found - wanted, f"duplicate or unknown {when}: {list(found - wanted)[:3]}"


def _held() -> tuple[int, int]:
    """Threads and open files of this process."""
    gc.collect()
    try:
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is wanted
    except OSError:
        files = 0
    return threading.active_count(), files


def _settles_at(before: tuple[int, int], patience_s: float = 5.0) -> bool:
    """Whether no more than `before` is held within the patience: sockets take a moment to close."""
    deadline = time.monotonic() + patience_s
    while any(now > then for now, then in zip(_held(), before, strict=True)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _is_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(_is_secret(argument) for argument in get_args(annotation))


def _unmarked_secrets(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _models_in(field.annotation)
        is_text = str in (field.annotation, *get_args(field.annotation))
        if _SOUNDS_SECRET.search(name) and is_text and not _is_secret(field.annotation):
            yield prefix + name
        for each in inner:
            yield from _unmarked_secrets(each, f"{prefix}{name}.")


def _secret_values(value: Any) -> list[str]:
    """Every secret in a config, in clear, to prove that it appears nowhere else."""
    if isinstance(value, SecretStr):
        found = [value.get_secret_value()]
    elif isinstance(value, SecretBytes):
        found = [value.get_secret_value().decode(errors="replace")]
    elif isinstance(value, BaseModel):
        found = [secret for name in type(value).model_fields for secret in _secret_values(getattr(value, name))]
    elif isinstance(value, dict):
        found = [secret for each in value.values() for secret in _secret_values(each)]
    elif isinstance(value, (list, tuple, set, frozenset)):
        found = [secret for each in value for secret in _secret_values(each)]
    else:
        found = []
    return [secret for secret in found if len(secret) >= 8]
