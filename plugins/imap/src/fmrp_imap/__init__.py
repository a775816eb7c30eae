"""Connector for attachments of mails in an IMAP mailbox."""
