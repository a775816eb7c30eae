"""The source that a suite fills, spoils and reads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

Content = tuple[str, bytes | Mapping[str, Any]]
"""A file's name and bytes, or a stream's name and one row of it."""


class SourceUnderTest(ABC):
    """A real source: a folder, a server in this process or beside it. Made anew for each test, and closed after it."""

    def __init__(self, folder: Path) -> None:
        """`folder` is empty and this source's own; start and fill what is to be read."""
        self.folder = folder

    def close(self) -> None:
        """Stop what was started."""
        return

    @abstractmethod
    def config(self) -> BaseModel:
        """How the connector reaches this source. Give it passwords and tokens of eight characters or more, if any."""

    @abstractmethod
    def contents(self) -> list[Content]:
        """All that a reading from the beginning must give, each once; at least three batches of it."""

    @abstractmethod
    def add(self) -> None:
        """Put in what one more batch holds, later than all there is; `contents` tells of it from now on."""

    @abstractmethod
    def spoil(self) -> None:
        """Put in something malformed, or to be refused: a record without its key, a torn answer, a locked file.

        What is sound must be read all the same, or the reading end with an error of the sdk and with none else.
        """

    @abstractmethod
    def bad_configs(self) -> list[BaseModel]:
        """Configs of sources that cannot be reached: missing, down, of a wrong password. At least two."""

    @abstractmethod
    def silent_config(self, host: str, port: int) -> BaseModel | None:
        """How the connector would reach a server at that address, which takes connections and never says a word, with
        time-outs of two seconds at most. None for a source that is reached without a network."""
