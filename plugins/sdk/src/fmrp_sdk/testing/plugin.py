"""The pytest plugin: loaded by its entry point wherever fmrp-sdk is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("fmrp_sdk.testing.suite")

if TYPE_CHECKING:
    from fmrp_sdk.testing.source import SourceUnderTest


@pytest.fixture
def connector_source(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[SourceUnderTest]":
    """The source of the suite at hand, started and filled."""
    folder = tmp_path / "source"
    folder.mkdir()
    source = request.cls.source_class(folder)
    try:
        yield source
    finally:
        source.close()


@pytest.fixture
def silent_address() -> Iterator[tuple[str, int]]:
    """Host and port of a server that takes connections and never says a word."""
    from fmrp_sdk.testing.servers import silent_server

    with silent_server() as address:
        yield address
