"""Mails, and a mailbox for the conformance suite."""

import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from imap_neighbours import free_port
from imap_server import T0, shared_server
from pydantic import BaseModel

from fmrp_imap import ImapConfig
from fmrp_sdk.testing import Content, SourceUnderTest


def mail(
    *attached: tuple[str, bytes], subject: str = "Stock", sender: str = "Erp <erp@plant.example>", number: int = 0
) -> EmailMessage:
    """A mail with these attachments; `number` makes its Message-ID, 0 gives it none."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "mrp@plant.example"
    message["Subject"] = subject
    message["Date"] = T0
    if number:
        message["Message-ID"] = f"<{number}@plant.example>"
    message.set_content("As every morning.")
    for name, content in attached:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


class MailboxSource(SourceUnderTest):
    """Six mails in a folder: with one attachment, with three, with none to take, too large, of somebody else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.owner = shared_server().new_mailbox()
        self.owner.create("Orders")
        self._files: list[Content] = []
        self._number = 0
        self._put(("a.csv", b"one\n"))
        self._put(("b.csv", b"two\n"), ("c.xlsx", b"three"), ("d.csv", b"four\n"))
        self._put(("e.zip", b"five"), ("picture.png", b"none"))
        self._put(("f.pdf", b"six"))
        self.owner.put(mail(("logo.png", b"none"), number=100), "Orders")
        self.owner.put(mail(("huge.csv", b"x" * 4_000), number=101), "Orders")
        self.owner.put(mail(("spam.csv", b"spam"), sender="spam@elsewhere.example", number=102), "Orders")

    def _put(self, *attached: tuple[str, bytes]) -> None:
        self._number += 1
        at = T0 + datetime.timedelta(hours=self._number)
        self.owner.put(mail(*attached, number=self._number), "Orders", at)
        self._files += [each for each in attached if not each[0].endswith(".png")]

    def close(self) -> None:
        self.owner.leave()

    def config(self, **fields: Any) -> ImapConfig:
        given = {"folder": "Orders", "senders": ["@plant.example"], "max_mail_bytes": 3_000}
        return self.owner.config(**{**given, **fields})

    def contents(self) -> list[Content]:
        return list(self._files)

    def add(self) -> None:
        self._put(("new.csv", b"new\n"))

    def spoil(self) -> None:
        broken = mail(("torn.csv", b"torn"), number=200).as_bytes()
        self.owner.put(broken[: len(broken) // 2], "Orders")
        self.owner.put(b"From: a@plant.example\r\nContent-Type: multipart/mixed\r\n\r\nno boundary", "Orders")
        nested = b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n'
        self.owner.put(b"From: a@plant.example\r\n" + b"".join(nested % (n, n) for n in range(40)), "Orders")

    def bad_configs(self) -> list[BaseModel]:
        return [
            self.config(password="a wrong password"),
            self.config(port=free_port()),
            self.config(ca_certificate=None),
            self.config(folder="Missing"),
        ]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return self.config(host=host, port=port, timeout_s=1)
