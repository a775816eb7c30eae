"""Connector for attachments of mails in Gmail."""
