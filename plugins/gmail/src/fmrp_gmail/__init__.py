"""Connector for attachments of mails in Gmail."""

from collections.abc import Callable

from fmrp_gmail.config import GmailConfig
from fmrp_gmail.connector import GmailConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["GmailConfig", "GmailConnector"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the Gmail connector."""
    register(GmailConnector)
