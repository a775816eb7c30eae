"""Connector for tables and queries of a database."""

from collections.abc import Callable

from fmrp_erp_db.config import ErpDbConfig, StreamConfig
from fmrp_erp_db.connector import ErpDbConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["ErpDbConfig", "ErpDbConnector", "StreamConfig"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the database connector."""
    register(ErpDbConnector)
