"""The one hook. pluggy finds connectors; what they do is the `Connector` protocol's matter."""

from collections.abc import Callable

import pluggy

from fmrp_sdk.connector import Connector

PROJECT = "fmrp"
ENTRY_POINT_GROUP = "fmrp"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Call `register` with each connector class this distribution brings."""
