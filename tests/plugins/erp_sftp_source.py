"""Readings of the tests of the SFTP connector, and a source for the conformance suite."""

import json
import os
from pathlib import Path
from typing import Any

import asyncssh
from erp_sftp_server import T0, drop, shared_server
from pydantic import BaseModel

from fmrp_erp_sftp import ErpSftpConfig, ErpSftpConnector
from fmrp_sdk import RetriableError
from fmrp_sdk.run import ConnectorRun
from fmrp_sdk.testing import Content, SourceUnderTest
from fmrp_sdk.testing.readings import Given, Reader


def reader(config: ErpSftpConfig) -> Reader:
    """The connector as the product runs it."""
    return Reader(ErpSftpConnector, config, 30.0)


def names(given: list[Given]) -> list[str]:
    """Names of the files that were given, taken or not."""
    return [each.batch.content.name for each in given if each.batch.content is not None]


class Keeper:
    """Stores what is read and the state after it, both or neither, as the product does; marks only what is stored."""

    def __init__(self, config: ErpSftpConfig) -> None:
        self._config = config
        self.state: dict[str, Any] = {}
        self.found: list[tuple[str, bytes]] = []

    def read(self) -> bool:
        """Reads all there is. False: the server went away."""
        run = ConnectorRun(ErpSftpConnector(), self._config)
        try:
            if self.state:
                run.settle(self.state).result(20)
            while (batch := run.next_batch(self.state).result(20)) is not None:
                if batch.content is not None:
                    self.found.append((batch.content.name, run.content(batch.content).result(20)))
                self.state = json.loads(json.dumps(batch.state))
                run.settle(self.state).result(20)
        except RetriableError:
            return False
        finally:
            assert run.close()
        return True


class SftpSource(SourceUnderTest):
    """Five files in three folders, one of them too large to be taken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = shared_server()
        self.username, self.user = self.server.new_user(folder)
        self.drop = folder / "outbox"
        self._files = {
            name: name.encode() * (place + 1)
            for place, name in enumerate(["orders/c.csv", "a.csv", "stock/2026/b.xlsx", "orders/Größen 1.csv"])
        }
        for place, (name, content) in enumerate(self._files.items()):
            drop(self.drop, name, content, T0 + place)
        drop(self.drop, "huge.csv", b"x" * 2_000, T0 + 1)

    def close(self) -> None:
        del self.server.users[self.username]

    def config(self, **fields: Any) -> ErpSftpConfig:
        given = {"folder": "/outbox", "patterns": ("*.csv", "orders/*.csv", "stock/**/*.xlsx"), "max_file_bytes": 1_000}
        return self.server.config(self.username, **{**given, **fields})

    def contents(self) -> list[Content]:
        return list(self._files.items())

    def add(self) -> None:
        self._files["orders/new.csv"] = b"new"
        drop(self.drop, "orders/new.csv", b"new", T0 + 100)

    def spoil(self) -> None:
        (self.drop / "nowhere.csv").symlink_to(self.folder / "missing")
        (self.drop / "elsewhere.csv").symlink_to("/etc/hostname")
        drop(self.drop, "locked.csv", b"locked")
        self.user.locked.add("locked.csv")
        os.mkfifo(self.drop / "pipe.csv")

    def bad_configs(self) -> list[BaseModel]:
        other_key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        return [
            self.config(password="a wrong password"),
            self.config(port=1),
            self.config(host_key=(other_key,)),
            self.config(folder="/missing"),
            self.config(private_key="no key at all, but secret"),
        ]

    def silent_config(self, host: str, port: int) -> BaseModel | None:
        return self.config(host=host, port=port, connect_timeout_s=1, login_timeout_s=1)
