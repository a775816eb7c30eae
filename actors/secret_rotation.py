"""All secrets of sources under the newest key: after a key was added, or to encrypt what was stored in clear."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.secrets import SecretError, encrypted_anew
from db.audit import act_as
from db.engine import SessionFactory
from db.repositories import sources
from fmrp_sdk import LoadReport
from settings import Settings


@dataclass
class Rotation:
    """How many secrets were encrypted anew, by source; what stood in the way; whose connector is not there, so that
    only what was encrypted before is known to be secret."""

    encrypted: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


async def rotate(sessions: SessionFactory, settings: Settings, plugins: LoadReport, actor: str) -> Rotation:
    """Encrypt the secrets of every source, also of deleted ones, with the newest key. A source is changed whole or not
    at all, and one that cannot be stops no other.

    Raises:
        ValueError: no key is set.
    """
    if not settings.fernet_keys():
        raise ValueError("FMRP_SECRET_KEYS is not set: make a key with `fmrp secrets key`")
    done = Rotation()
    async with sessions() as session:
        codes = await sources.with_deleted(session)
    for code in codes:
        async with sessions.begin() as session:
            source = await sources.find(session, code, lock=True, deleted=None)
            if source is None or source.code == sources.UPLOAD:
                continue
            loaded = plugins.connectors.get(source.connector)
            connector = None if loaded is None else loaded.connector
            try:
                config, count = encrypted_anew(source.config, connector, source.connector, code, settings)
            except SecretError as error:
                done.failures.append(str(error))
                continue
            if connector is None and source.config:
                done.unknown.append(code)
            if count:
                await act_as(session, actor)
                source.config = config
                done.encrypted[code] = count
    return done
