"""Connector for files dropped into a watched folder."""

from collections.abc import Callable

from fmrp_folder.config import FolderConfig
from fmrp_folder.connector import FolderConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["FolderConfig", "FolderConnector"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the folder connector."""
    register(FolderConnector)
