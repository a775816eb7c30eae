"""The REST connector: conformance."""

from erp_api_source import ErpApi

from fmrp_erp_api import ApiConnector
from fmrp_sdk.testing import ConnectorSuite


class TestErpApi(ConnectorSuite):
    connector_class = ApiConnector
    source_class = ErpApi
