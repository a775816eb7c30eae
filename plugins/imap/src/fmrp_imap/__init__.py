"""Connector for attachments of mails in an IMAP mailbox."""

from collections.abc import Callable

from fmrp_imap.config import ImapConfig
from fmrp_imap.connector import ImapConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["ImapConfig", "ImapConnector"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the IMAP connector."""
    register(ImapConnector)
