"""Conformance kit: describe a real source once, then subclass the suite in three lines and run pytest.

    class ShopSource(SourceUnderTest): ...     # in conftest.py or beside the test: starts a server, fills it

    class TestShop(ConnectorSuite):
        connector_class = ShopConnector
        source_class = ShopSource

What a source leaves out fails; nothing is skipped in silence. docs/connectors.md walks through it.
"""

from fmrp_sdk.testing.source import Content, SourceUnderTest
from fmrp_sdk.testing.suite import ConnectorSuite

__all__ = ["ConnectorSuite", "Content", "SourceUnderTest"]
