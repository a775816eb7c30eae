"""Sources of a connector of the tests' own, behind the API."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from erp_connector import ErpConnector
from litestar import Litestar
from serve_world import API

from fmrp_sdk import LoadedConnector, LoadReport

SOURCES = f"{API}/sources"
PASSWORD = "hush-hush-hush"


def install(app: Litestar) -> None:
    """Have the application know the connector."""
    loaded = dict(app.state.plugins.connectors)
    loaded["erp"] = LoadedConnector("erp", "1.0", "tests", "erp", ErpConnector)
    app.state.plugins = LoadReport(MappingProxyType(loaded), app.state.plugins.failures)
    ErpConnector.asked.clear()


def erp(**given: Any) -> dict[str, Any]:
    """A source as it is made."""
    config = {"host": "erp.example", "password": PASSWORD}
    rules = [{"pattern": "items*.csv", "mapping": "erp_items"}]
    return {"code": "erp", "name": "ERP", "connector": "erp", "config": config, "rules": rules, **given}
