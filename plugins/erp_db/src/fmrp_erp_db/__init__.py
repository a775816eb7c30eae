"""Connector for tables and queries of a database."""
