"""Connector for records and files of a REST API."""

from collections.abc import Callable

from fmrp_erp_api.config import ApiConfig
from fmrp_erp_api.connector import ApiConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["ApiConfig", "ApiConnector"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the connector."""
    register(ApiConnector)
