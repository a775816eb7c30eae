"""Connector for files from an SFTP server."""
