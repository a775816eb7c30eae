"""Connecting and logging in: the host key first, then key or password, and nothing of this machine's own ~/.ssh."""

import re
from collections.abc import Sequence

import asyncssh
from pydantic import SecretStr

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.host_key import TrustedHostKeys, without
from fmrp_sdk import FatalError, RetriableError

_TRUST_NOTHING: tuple[list[str], list[str], list[str]] = ([], [], [])
"""As asyncssh's known_hosts: every host key is then judged by _Client. (None would trust all of them.)"""
_PROMPTS_ANSWERED = 3


class _Client(asyncssh.SSHClient):  # type: ignore[misc]  # asyncssh is untyped for mypy here
    """Judges the host key and answers the server's questions."""

    def __init__(self, trusted: TrustedHostKeys, password: str | None) -> None:
        self.shown: asyncssh.SSHKey | None = None
        self._trusted = trusted
        self.password = password
        self._prompts_left = _PROMPTS_ANSWERED

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        self.shown = key
        return self._trusted.trusts(key)

    def kbdint_auth_requested(self) -> str | None:
        return None if self.password is None else ""

    def kbdint_challenge_received(
        self,
        name: str,  # noqa: ARG002
        instructions: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        """The password to one hidden question, in whatever language it is put; a second factor cannot be given."""
        if not prompts:
            return []
        self._prompts_left -= 1
        if self.password is None or self._prompts_left < 0 or len(prompts) > 1 or prompts[0][1]:
            return None
        return [self.password]


async def log_in(config: ErpSftpConfig) -> asyncssh.SSHClientConnection:
    """A connection that is logged in. FatalError: host key, user or algorithms do not fit; RetriableError: the rest."""
    trusted = TrustedHostKeys.parse(config.host_key)
    if not trusted.fingerprints:
        raise FatalError(
            f"{config.server}: no host key is configured, so nothing is read; test the connection to see the server's "
            "keys, compare them with its administrator and enter one as host_key"
        )
    connection, shown = await _verified(config, trusted, _clear(config.password), _private_key(config))
    if connection is not None:
        return connection
    if not shown:
        raise FatalError(f"{config.server}: has no host key or other algorithm in common with us")
    raise FatalError(
        f"{config.server}: the server's host key is not the configured one. It shows {_listed(shown)}. "
        "If the server was set up anew, compare this with its administrator and enter it as host_key; "
        "if not, somebody may be in between"
    )


async def shown_host_keys(config: ErpSftpConfig) -> str:
    """The server's host keys for the administrator to compare. Nobody is logged in: no key is trusted here."""
    _, shown = await _verified(config, TrustedHostKeys.parse(()), None, None)
    return _listed(shown)


async def _verified(
    config: ErpSftpConfig, trusted: TrustedHostKeys, password: str | None, key: asyncssh.SSHKey | None
) -> tuple[asyncssh.SSHClientConnection | None, list[asyncssh.SSHKey]]:
    """A connection to a server that has a trusted host key; None: it has not, or nothing in common with us.

    A server shows one key at a time, and not always first the one that was given: so the other kinds are asked for, and
    all that were shown come back, too.
    """
    shown: list[asyncssh.SSHKey] = []
    algorithms = trusted.algorithms()
    while algorithms:
        client = _Client(trusted, password)
        try:
            connection = await _attempt(config, client, algorithms, key)
        except RetriableError:
            if not shown:
                raise
            break  # some servers hang up where there is nothing in common
        if connection is not None:
            return connection, shown
        if client.shown is None:
            break
        shown.append(client.shown)
        algorithms = without(algorithms, client.shown)
    return None, shown


async def _attempt(
    config: ErpSftpConfig, client: _Client, algorithms: Sequence[str], key: asyncssh.SSHKey | None
) -> asyncssh.SSHClientConnection | None:
    """A connection; None when the host key is not trusted or there is none of these kinds."""
    try:
        return await asyncssh.connect(
            config.host,
            config.port,
            config=None,
            client_factory=lambda: client,
            known_hosts=_TRUST_NOTHING,
            server_host_key_algs=list(algorithms),
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
            username=config.username,
            client_username=config.username,
            password=client.password,
            client_keys=None if key is None else [key],
            agent_path=None,
            gss_host=None,
            host_based_auth=False,
            preferred_auth=("publickey", "password", "keyboard-interactive"),
            connect_timeout=config.connect_timeout_s,
            login_timeout=config.login_timeout_s,
            keepalive_interval=config.keepalive_s,
            keepalive_count_max=3,
        )
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        return None
    except (asyncssh.PermissionDenied, asyncssh.IllegalUserName):
        given = " or ".join(name for name in ("private_key", "password") if getattr(config, name) is not None)
        raise FatalError(
            f"{config.server}: refuses user {config.username!r}: check username and {given}, "
            "and which ways of log-in the server allows for this user"
        ) from None
    except TimeoutError:
        raise RetriableError(
            f"{config.server}: no answer within {config.connect_timeout_s:g} s: check host, port and firewall"
        ) from None
    except ValueError as error:  # asyncssh wants a name for the account the worker runs as, and says how to give it
        raise FatalError(f"{config.server}: {error}") from None
    except (OSError, asyncssh.DisconnectError) as error:
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
        raise RetriableError(f"{config.server}: cannot be reached: {reason}") from None


def _private_key(config: ErpSftpConfig) -> asyncssh.SSHKey | None:
    """The key for log-in. FatalError: it cannot be read; the message holds nothing of it."""
    text = _clear(config.private_key)
    if text is None:
        return None
    if text.lstrip().startswith("PuTTY-User-Key-File"):
        raise FatalError("private_key: is in PuTTY's format; export it as an OpenSSH key in PuTTYgen")
    if text.lstrip().startswith(("ssh-", "ecdsa-", "---- BEGIN SSH2 PUBLIC", "-----BEGIN PUBLIC")):
        raise FatalError("private_key: is the public key; give the private one, the file without .pub")
    try:
        return asyncssh.import_private_key(text.strip() + "\n", _clear(config.passphrase))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if re.search("passphrase|decrypt", str(error), re.IGNORECASE):
            raise FatalError("passphrase: is missing, or does not open the private_key") from None
        raise FatalError("private_key: cannot be read: paste the whole file, from '-----BEGIN' to 'KEY-----'") from None


def _clear(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _listed(keys: Sequence[asyncssh.SSHKey]) -> str:
    return ", ".join(f"{key.get_algorithm()} {key.get_fingerprint()}" for key in keys) or "no host key of a known kind"
