"""Gmail: conformance, with each way to log in."""

from gmail_source import AccountMailbox, UserMailbox

from fmrp_gmail import GmailConnector
from fmrp_sdk.testing import ConnectorSuite


class TestAsServiceAccount(ConnectorSuite):
    connector_class = GmailConnector
    source_class = AccountMailbox


class TestAsUserWithLabels(ConnectorSuite):
    connector_class = GmailConnector
    source_class = UserMailbox
