"""One typed settings object, read once from the environment and `.env` (prefix FMRP_).

Nothing is validated at import: `load()` reads, checks and freezes. Every process of the stack (Ray workers, the
dashboard, the command line) calls it once at start and passes the object on.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def normalise_database_url(url: str) -> str:
    """Spell a PostgreSQL URL with the asyncpg driver in full.

    SQLAlchemy 2.1 reads a bare `postgresql://` as psycopg 3, which is not installed here.

    Raises:
        ValueError: the URL does not name PostgreSQL, or names another driver.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError("expected postgresql://user:password@host:port/database")
    if scheme in {"postgresql", "postgres", "postgresql+asyncpg"}:
        return f"postgresql+asyncpg://{rest}"
    raise ValueError(f"expected a postgresql:// URL for the asyncpg driver, not {scheme}://")


def _database_url(value: object) -> object:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return normalise_database_url(value) if isinstance(value, str) and value else None


def is_time_zone(name: str) -> bool:
    """Whether the name is one of the time zone database's."""
    return name in available_timezones()


def _zone(name: str) -> str:
    if not is_time_zone(name):
        raise ValueError(f"expected a time zone like Europe/Berlin, not {name!r}")
    return name


ZoneName = Annotated[str, AfterValidator(_zone)]


def is_fernet_key(text: str) -> bool:
    """Whether the text is a key of Fernet's: 32 bytes in URL-safe base64."""
    return re.fullmatch(r"[A-Za-z0-9_-]{43}=", text) is not None


def _fernet_keys(value: object) -> object:
    keys = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(keys, str) or not keys.strip():
        return None
    if not all(is_fernet_key(key.strip()) for key in keys.split(",")):
        raise ValueError("expected keys as `fmrp secrets key` makes them, the newest first, with commas between")
    return keys


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("expected an absolute path: processes are started in different folders")
    return path


def _own_prefix(prefix: str) -> str:
    if any(f"FMRP_{name.upper()}".startswith(prefix.upper()) for name in Settings.model_fields):
        raise ValueError("expected a prefix with which no setting of our own begins, such as FMRP_SOURCE_")
    return prefix


RETRY_STEP = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|[1-9][0-9]{0,3}[smh])\Z"
"""A time of the day, or a delay in seconds, minutes or hours."""


def checked_retry_step(step: str) -> str:
    """The step itself.

    Raises:
        ValueError: it is none.
    """
    if not re.match(RETRY_STEP, step):
        raise ValueError(f"retry_steps: expected a time like 06:30 or a delay like 30m, not {step!r}")
    return step


RetryStep = Annotated[str, AfterValidator(checked_retry_step)]


_ADDRESS = re.compile(r"[^\s@<>,;:\"\\]+@[^\s@<>,;:\"\\]+", re.ASCII)


def _mail_address(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"expected an address like mrp@example.com, not {address!r}")
    return address


MailAddress = Annotated[str, AfterValidator(_mail_address)]
MAIL_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Settings(BaseSettings):
    """What an operator may set. Secrets are `SecretStr`: they are never printed."""

    model_config = SettingsConfigDict(
        env_prefix="FMRP_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())] = Field(
        default=Path(".fmrp"), description="Folder of the embedded stack: database, Redis, inbox, logs."
    )
    database_url: Annotated[SecretStr | None, BeforeValidator(_database_url)] = Field(
        default=None, description="A real PostgreSQL 16+ instead of the embedded one."
    )
    redis_url: SecretStr | None = Field(default=None, description="A real Redis instead of the embedded one.")
    database_pool_size: int = Field(default=5, ge=1, le=100)

    host: str = Field(default="127.0.0.1", description="Address the API and the dashboard listen on.")
    api_port: int = Field(default=8000, ge=1, le=65535)
    dashboard_port: int = Field(default=3000, ge=1, le=65535)

    token_secret: SecretStr | None = Field(default=None, description="Signs log-in tokens; 32 characters or more.")
    token_ttl_s: int = Field(default=900, ge=60, description="Life of an access token.")
    refresh_ttl_days: float = Field(default=14.0, gt=0, le=365, description="Days a log-in lasts without being used.")
    secret_keys: Annotated[SecretStr | None, BeforeValidator(_fernet_keys)] = Field(
        default=None, description="Encrypt the secrets of sources: keys, newest first, with commas between."
    )
    secret_env_prefix: Annotated[str, AfterValidator(_own_prefix)] = Field(
        default="FMRP_SOURCE_", min_length=3, description="Of environment variables a source may name as its secrets."
    )
    secret_folder: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        default=None, description="Folder of files a source may name as its secrets."
    )
    password_min_length: int = Field(default=12, ge=8, le=100, description="Characters a new password needs.")
    allowed_origins: tuple[str, ...] = Field(default=(), description="Browser origins that may call the API.")
    hsts_seconds: int = Field(
        default=0, ge=0, description="Behind TLS: how long browsers insist on it; 0 says nothing."
    )
    trusted_proxies: int = Field(
        default=0, ge=0, le=10, description="Proxies of ours in front of the API, each adding to X-Forwarded-For."
    )
    rate_limit_requests: int = Field(
        default=3000, ge=0, description="Requests of one user, key or address in a window; 0 sets no limit."
    )
    rate_limit_window_s: float = Field(default=10.0, gt=0, le=3600, description="Length of that window.")
    admin_email: str = "admin@example.com"
    public_url: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="The dashboard's address as people type it, for links."
    )

    smtp_host: str | None = Field(default=None, description="Mail server; without one no mails are sent.")
    smtp_port: int | None = Field(default=None, ge=1, le=65535, description="By default 587, with `tls` 465, else 25.")
    smtp_tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the way to the mail server is kept secret; `none` for one on this machine."
    )
    smtp_ca_file: Path | None = Field(default=None, description="Certificates to trust beside the system's (PEM).")
    smtp_user: str | None = Field(default=None, description="Log-in at the mail server; without one none is tried.")
    smtp_password: SecretStr | None = Field(default=None, validate_default=True)
    mail_from: MailAddress = Field(default="mrp@localhost", description="Sender of mails.")
    mail_to: tuple[MailAddress, ...] = Field(
        default=(), validate_default=True, max_length=20, description="Who gets a mail when work has failed for good."
    )

    upload_max_bytes: int = Field(
        default=64 << 20, ge=1024, le=1 << 30, description="Largest file or archive that is taken, from any source."
    )
    file_max_unpacked_bytes: int = Field(default=512 << 20, ge=1024, le=4 << 30, description="The same, unpacked.")
    file_max_rows: int = Field(default=2_000_000, ge=1, le=20_000_000, description="Most rows of one file.")
    file_max_columns: int = Field(default=200, ge=1, le=5_000, description="Most columns of one file.")
    file_max_cells: int = Field(default=30_000_000, ge=1, le=500_000_000, description="Most rows times columns.")
    file_max_pages: int = Field(default=500, ge=1, le=10_000, description="Most pages of a PDF.")
    file_max_seconds: float = Field(default=120.0, ge=1, le=3600, description="Longest time reading one file may take.")
    file_max_memory_bytes: int = Field(
        default=3 << 30, ge=256 << 20, description="Memory that reading a workbook, PDF, Parquet or JSON may take."
    )
    archive_max_files: int = Field(default=200, ge=1, le=2_000, description="Most files of a ZIP archive.")
    events_max_length: int = Field(default=20_000, ge=100, description="Events kept in the Redis stream for replay.")
    job_heartbeat_s: float = Field(default=6.0, ge=1.0, description="A worker silent for this long has died.")
    job_max_attempts: int = Field(default=4, ge=1, description="Passing failures after which a job is a dead letter.")
    retry_steps: tuple[RetryStep, ...] = Field(
        default=("30m", "30m", "30m"),
        max_length=20,
        description="When a schedule's reading of a source that is away is tried again: times like 06:30, or delays.",
    )
    job_max_losses: int = Field(default=5, ge=1, description="Lost workers after which a job is held as the culprit.")
    job_capacity: int = Field(default=200, ge=1, description="Attempts a dispatcher has in hand at once.")
    job_retention_days: float = Field(default=30.0, gt=0, description="Days until ended jobs are deleted.")
    dead_letter_retention_days: float = Field(default=90.0, gt=0, description="The same for dead letters.")
    job_event_retention_days: int = Field(default=90, ge=1, description="Days job events are kept.")
    forecast_retention_days: int = Field(default=730, ge=31, description="Days past its week a forecast row is kept.")
    restatement_days: int = Field(default=400, ge=31, description="Days demand stays out of TimescaleDB's columnstore.")
    owner_patience_s: float = Field(default=20.0, ge=1, description="Silence after which a busy actor is replaced.")
    connector_idle_s: float = Field(
        default=120.0, ge=1, description="Seconds after which an idle source's process ends."
    )
    connector_processes: int = Field(
        default=4, ge=1, le=64, description="Processes kept for sources, the idle ones among them."
    )
    drain_patience_s: float = Field(default=20.0, ge=0, description="Seconds a stopping dispatcher lets jobs end.")
    cluster: str = Field(default="", description="Name of a cluster of which never two are alive at once; else empty.")
    dispatchers: int = Field(default=1, ge=1, le=8, description="Dispatchers that serve the queue side by side.")
    time_zone: ZoneName = Field(default="UTC", description="The plant's time zone, for schedules.")
    work_modules: tuple[str, ...] = Field(default=(), description="Modules that bring further kinds of jobs.")

    chronos_model: str | None = Field(default=None, description="Hub id, folder or s3:// path of a Chronos model.")
    forecast_horizon_weeks: int = Field(default=13, ge=1, le=52)
    rejected_share_alert: float = Field(default=0.05, ge=0, le=1, description="Share of rejected rows that alerts.")
    planning_horizon_weeks: int = Field(default=26, ge=1, le=104)
    connector_patience_s: float = Field(default=120.0, ge=1, description="Longest wait for one answer of a source.")
    required_connectors: tuple[str, ...] = Field(default=(), description="Connectors without which nothing starts.")

    log_level: str = "INFO"
    otlp_endpoint: str | None = Field(
        default=None, description="Base address of an OTLP/HTTP collector for traces; without one none are exported."
    )
    trace_sample_ratio: float = Field(default=1.0, ge=0.0, le=1.0, description="Share of new traces that is exported.")
    metrics_interval_s: float = Field(default=5.0, gt=0.0, le=60.0, description="How often a process reports metrics.")

    @field_validator("smtp_password")
    @classmethod
    def _has_both_or_neither(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (password is None) != (info.data.get("smtp_user") is None):
            raise ValueError("set FMRP_SMTP_USER and FMRP_SMTP_PASSWORD, or neither")
        if password is not None and info.data.get("smtp_tls") == "none":
            raise ValueError("it would cross the network readable: set FMRP_SMTP_TLS to starttls or tls")
        return password

    @field_validator("mail_to")
    @classmethod
    def _are_there(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("smtp_host") and not addresses:
            raise ValueError('with a mail server, say who gets mails, such as ["planner@example.com"]')
        return addresses

    @property
    def mail_recipients(self) -> tuple[str, ...]:
        """Who gets mails; nobody where no mail server is set."""
        return self.mail_to if self.smtp_host else ()

    @property
    def people_url(self) -> str:
        """The dashboard's address without a slash at its end, for links."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return (self.public_url or f"http://{host}:{self.dashboard_port}").rstrip("/")

    @property
    def inbox_dir(self) -> Path:
        """Folder that the shipped `inbox` source watches."""
        return self.data_dir / "inbox"

    def require_database_url(self) -> str:
        """Return the database URL.

        Raises:
            RuntimeError: none is set and no embedded stack has announced one.
        """
        if self.database_url is None:
            raise RuntimeError("no database: set FMRP_DATABASE_URL, or start the embedded stack with `make up`")
        return self.database_url.get_secret_value()

    def require_redis_url(self) -> str:
        """Return the Redis URL. Raises RuntimeError when none is set."""
        if self.redis_url is None:
            raise RuntimeError("no Redis: set FMRP_REDIS_URL, or start the embedded stack with `make up`")
        return self.redis_url.get_secret_value()

    def fernet_keys(self) -> list[SecretStr]:
        """The keys of sources' secrets, newest first; none where secrets can only be named, not stored."""
        keys = self.secret_keys.get_secret_value().split(",") if self.secret_keys is not None else []
        return [SecretStr(key.strip()) for key in keys]

    def require_token_secret(self) -> str:
        """Return the signing secret. Raises RuntimeError when it is missing or too short to be one."""
        if self.token_secret is None or len(self.token_secret.get_secret_value()) < 32:
            raise RuntimeError("FMRP_TOKEN_SECRET is missing or shorter than 32 characters")
        return self.token_secret.get_secret_value()


@lru_cache(maxsize=1)
def load() -> Settings:
    """Read the settings once for this process."""
    return Settings()
