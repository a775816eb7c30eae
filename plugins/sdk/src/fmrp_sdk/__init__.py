"""The contract between Forecasting MRP and its connectors.

A connector is a distribution of its own with an entry point in the group "fmrp" whose module marks one function with
`hookimpl`: `fmrp_register_connectors(register)`. `fmrp_sdk.testing` holds the conformance kit it should pass.
"""

from fmrp_sdk.connector import API_VERSION, Connector, Settles
from fmrp_sdk.errors import ConnectorError, FatalError, RetriableError, SkippableError
from fmrp_sdk.hooks import ENTRY_POINT_GROUP, hookimpl
from fmrp_sdk.loader import LoadedConnector, LoadFailure, LoadReport, load_connectors
from fmrp_sdk.run import ConnectorRun
from fmrp_sdk.types import (
    DATA_FILES,
    ArrowStream,
    Batch,
    CheckResult,
    FileBatch,
    FileInfo,
    Offer,
    RecordsBatch,
    State,
    StreamInfo,
)

__all__ = [
    "API_VERSION",
    "DATA_FILES",
    "ENTRY_POINT_GROUP",
    "ArrowStream",
    "Batch",
    "CheckResult",
    "Connector",
    "ConnectorError",
    "ConnectorRun",
    "FatalError",
    "FileBatch",
    "FileInfo",
    "LoadFailure",
    "LoadReport",
    "LoadedConnector",
    "Offer",
    "RecordsBatch",
    "RetriableError",
    "Settles",
    "SkippableError",
    "State",
    "StreamInfo",
    "hookimpl",
    "load_connectors",
]
