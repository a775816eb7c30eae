"""IMAP: conformance, and what is its own."""

from imap_source import MailboxSource, shared_server

from fmrp_imap import ImapConnector
from fmrp_sdk.testing import ConnectorSuite

shared_server()


class TestImap(ConnectorSuite):
    connector_class = ImapConnector
    source_class = MailboxSource
