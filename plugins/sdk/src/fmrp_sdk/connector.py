"""The contract a connector fulfils. It is a Protocol: a connector inherits from nothing of ours."""

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from fmrp_sdk.types import Batch, CheckResult, Offer, State

API_VERSION = 1
"""Version of this contract. A connector writes down the one it was built for; any other is refused at loading."""


@runtime_checkable
class Connector(Protocol):
    """A source of files or records. Created without arguments; holds no configuration and no state between calls.

    Each method may be plain or `async`: every run of a connector has a thread and an event loop of its own, so that
    either kind may block. Delivery is at least once: the runner stores a batch's rows and its state in one transaction
    and may read a batch again after a crash. `config` arrives validated as an instance of `config_model`; secrets in
    it are SecretStr. Every wait for the source must have an end, as only then can a run be cancelled.
    """

    api_version: ClassVar[int]
    name: ClassVar[str]
    version: ClassVar[str]
    config_model: ClassVar[type[BaseModel]]

    def check(self, config: Any) -> CheckResult | Awaitable[CheckResult]:
        """Whether the source can be reached as configured. Never raises for a source that is down or refuses."""
        ...

    def discover(self, config: Any) -> Sequence[Offer] | Awaitable[Sequence[Offer]]:
        """What the source holds now, also what would not be taken and why. Reads no content."""
        ...

    def read(self, config: Any, state: State | None) -> Iterator[Batch] | AsyncIterator[Batch]:
        """Batches after `state`, oldest first; None or {} is the beginning. A generator, plain or asynchronous.

        A state of a newer version gives nothing or FatalError. RetriableError and FatalError end the reading; a single
        file that cannot be taken is offered as a batch whose content raises SkippableError, so that it is on record.
        When the runner has enough it closes the generator: what was opened is to be closed in its `finally`.
        """
        ...


@runtime_checkable
class Settles(Protocol):
    """A connector that marks at the source what was taken: archives a file, moves or labels a mail. Optional."""

    def settle(self, config: Any, state: State) -> Awaitable[None] | None:
        """Everything before `state` is stored: mark it at the source, as far as `config` asks for that.

        Called after the state was committed, and again with it before the next reading, so that a crash in between
        leaves nothing unmarked: what is marked already, or gone, is passed over.
        """
        ...
