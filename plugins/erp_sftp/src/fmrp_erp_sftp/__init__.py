"""Connector for files from an SFTP server."""

from collections.abc import Callable

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.connector import ErpSftpConnector
from fmrp_sdk import Connector, hookimpl

__all__ = ["ErpSftpConfig", "ErpSftpConnector"]


@hookimpl
def fmrp_register_connectors(register: Callable[[type[Connector]], None]) -> None:
    """Registers the SFTP connector."""
    register(ErpSftpConnector)
