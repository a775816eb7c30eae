"""SFTP: which server is trusted, and how one logs in. Nothing of this machine's own ~/.ssh or agent is ever used."""

import socket
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import asyncssh
import pytest
from erp_sftp_server import PASSWORD, SftpServer, User, drop, shared_server

from fmrp_erp_sftp import ErpSftpConfig, ErpSftpConnector
from fmrp_sdk import CheckResult, FatalError
from fmrp_sdk.testing.readings import Reader

PASSPHRASE = "opens the key of 2026"


@cache
def server_of_two_keys() -> SftpServer:
    return SftpServer(kinds=("ecdsa-sha2-nistp256", "ssh-ed25519"))


@cache
def user_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drop(tmp_path / "root", "a.csv", b"a")
    return tmp_path / "root"


@pytest.fixture
def plant(folder: Path) -> tuple[str, User]:
    return shared_server().new_user(folder)


def check(config: ErpSftpConfig) -> CheckResult:
    return Reader(ErpSftpConnector, config, 30.0).check()


def read(config: ErpSftpConfig) -> list[str]:
    return [given.batch.content.name for given in Reader(ErpSftpConnector, config, 30.0).read()]


# -- the host key --------------------------------------------------------------------------------------------------


def entries_for(server: SftpServer) -> dict[str, str]:
    key = server.keys[0]
    bare = " ".join(key.export_public_key().decode().split()[:2])
    return {
        "a line of ssh-keyscan": server.known_hosts_line(),
        "with other hosts' names": f"sftp.example.com,192.0.2.7 {bare} comment",
        "with a hashed name": f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {bare}",
        "the public key alone": bare,
        "a fingerprint": key.get_fingerprint(),
        "a line of ssh-keygen -l": f"256 {key.get_fingerprint()}= no comment (ED25519)",
        "several lines": f"# from the partner\nother.example.com {other_key()}\n\n{server.known_hosts_line()}\n",
    }


def other_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


@pytest.mark.parametrize("form", sorted(entries_for(shared_server())))
def test_each_usual_form_of_a_host_key_is_taken(plant: tuple[str, User], form: str) -> None:
    assert read(shared_server().config(plant[0], host_key=(entries_for(shared_server())[form],))) == ["a.csv"]


def test_without_a_host_key_nothing_is_read_and_check_shows_it_without_logging_in(plant: tuple[str, User]) -> None:
    username, user = plant
    config = shared_server().config(username, host_key=())
    with pytest.raises(FatalError, match="no host key is configured"):
        read(config)
    result = check(config)
    assert not result.ok
    assert f"ssh-ed25519 {shared_server().keys[0].get_fingerprint()}" in result.message
    assert user.logins == 0, "no password or key goes to a server that is not known"


def test_every_key_of_the_server_is_shown(folder: Path) -> None:
    server = server_of_two_keys()
    username, _ = server.new_user(folder)
    message = check(server.config(username, host_key=())).message
    assert all(key.get_fingerprint() in message for key in server.keys)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("as_line", [True, False])
def test_any_one_of_its_keys_is_enough(folder: Path, place: int, as_line: bool) -> None:
    server = server_of_two_keys()
    username, user = server.new_user(folder)
    entry = server.known_hosts_line(place) if as_line else server.keys[place].get_fingerprint()
    assert read(server.config(username, host_key=(entry,))) == ["a.csv"]
    assert user.logins == 1


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_another_key_ends_it_before_the_log_in(plant: tuple[str, User], kind: str) -> None:
    username, user = plant
    other = asyncssh.generate_private_key(kind)
    for entry in (other.export_public_key().decode(), other.get_fingerprint()):
        config = shared_server().config(username, host_key=(entry,))
        with pytest.raises(FatalError, match="host key is not the configured one") as raised:
            read(config)
        assert shared_server().keys[0].get_fingerprint() in str(raised.value)
        assert check(config).message == str(raised.value)
    assert user.logins == 0


# -- the log-in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_key_with_and_without_passphrase(folder: Path, form: str, passphrase: str | None) -> None:
    username, _ = shared_server().new_user(folder, password=None, public_key=user_key().export_public_key().decode())
    text = user_key().export_private_key(form, passphrase=passphrase, rounds=50).decode().replace("\n", "\r\n")
    config = shared_server().config(username, password=None, private_key=f"\n{text}", passphrase=passphrase)
    assert read(config) == ["a.csv"]


def test_keys_that_are_none_say_what_is_wrong(plant: tuple[str, User]) -> None:
    sealed = user_key().export_private_key("openssh", passphrase=PASSPHRASE, rounds=50).decode()
    public = user_key().export_public_key().decode()
    for fields, message in [
        ({"private_key": sealed}, "passphrase: is missing"),
        ({"private_key": sealed, "passphrase": "another one"}, "passphrase: is missing, or does not open"),
        ({"private_key": sealed[:200], "passphrase": PASSPHRASE}, "paste the whole file"),
        ({"private_key": public}, "is the public key"),
        ({"private_key": "PuTTY-User-Key-File-3: ssh-ed25519\n"}, "PuTTYgen"),
    ]:
        result = check(shared_server().config(plant[0], password=None, **fields))
        assert not result.ok
        assert message in result.message


@pytest.mark.parametrize("question", ["Password: ", "Passwort für plant: ", "Codice"])
def test_password_asked_for_in_a_dialogue(folder: Path, question: str) -> None:
    username, _ = shared_server().new_user(folder, by_dialogue=question)
    assert read(shared_server().config(username)) == ["a.csv"]
    with pytest.raises(FatalError, match=f"refuses user '{username}': check username and password"):
        read(shared_server().config(username, password="not the password"))


def test_key_and_password_given_and_the_key_refused(plant: tuple[str, User]) -> None:
    key = user_key().export_private_key().decode()
    assert read(shared_server().config(plant[0], private_key=key)) == ["a.csv"]
    with pytest.raises(FatalError, match="check username and private_key"):
        read(shared_server().config(plant[0], private_key=key, password=None))


@pytest.fixture
def tempting_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A home with a key that opens the door, a config that leads elsewhere, and an agent. Gives the agent's callers."""
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True)
    (ssh / "id_ed25519").write_bytes(user_key().export_private_key())
    (ssh / "known_hosts").write_text(shared_server().known_hosts_line())
    (ssh / "config").write_text("Host *\n  Port 1\n  User nobody\n  HostName 192.0.2.1\n  ProxyCommand false\n")
    monkeypatch.setenv("HOME", str(ssh.parent))
    callers: list[str] = []
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()

        def answer() -> None:
            try:
                while True:
                    agent.accept()[0].close()
                    callers.append("somebody")
            except OSError:
                return  # closed: the test is over

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        yield callers
        agent.shutdown(socket.SHUT_RDWR)


def test_nothing_of_this_machine_is_used(folder: Path, tempting_home: list[str]) -> None:
    username, _ = shared_server().new_user(folder, public_key=user_key().export_public_key().decode())
    assert read(shared_server().config(username)) == ["a.csv"], "~/.ssh/config is not looked at"
    with pytest.raises(FatalError, match="refuses user"):
        read(shared_server().config(username, password="not the password"))
    with pytest.raises(FatalError, match="no host key is configured"):
        read(shared_server().config(username, host_key=()))
    assert tempting_home == []
    assert PASSWORD not in repr(shared_server().config(username))
