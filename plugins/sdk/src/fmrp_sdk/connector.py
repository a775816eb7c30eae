"""The contract a connector fulfils. It is a Protocol: a connector inherits from nothing of ours."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from fmrp_sdk.types import Batch, CheckResult, FileInfo, State

API_VERSION = 1
"""Version of this contract. A connector writes down the one it was built for; any other is refused at loading."""


@runtime_checkable
class Connector(Protocol):
    """A source of files. Created without arguments; holds no configuration and no state of its own between calls.

    Delivery is at least once: the runner stores a batch's rows and its state in one transaction and may read a batch
    again after a crash. `config` arrives validated as an instance of `config_model`; secrets in it are SecretStr.
    """

    api_version: ClassVar[int]
    name: ClassVar[str]
    version: ClassVar[str]
    config_model: ClassVar[type[BaseModel]]

    def check(self, config: Any) -> CheckResult:
        """Whether the source can be reached as configured. Never raises for a source that is down or refuses."""
        ...

    def discover(self, config: Any) -> list[FileInfo]:
        """What the source holds now, also what would not be taken and why. Reads no content."""
        ...

    def read(self, config: Any, state: State | None) -> Iterator[Batch]:
        """Batches after `state`, oldest first; None or {} is the beginning.

        A state of a newer version gives nothing or FatalError. RetriableError and FatalError end the reading; a single
        file that cannot be taken is offered as a batch whose content raises SkippableError, so that it is on record.
        """
        ...
