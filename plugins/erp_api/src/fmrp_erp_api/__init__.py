"""Connector for records of a REST API."""
