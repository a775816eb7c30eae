"""What a watched folder needs to know."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fmrp_sdk import DATA_FILES

MIB = 1 << 20


class FolderConfig(BaseModel):
    """Configuration of a watched folder. Nothing in the folder is ever written, moved or deleted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="Absolute path of the folder, as the worker sees it.")
    patterns: tuple[str, ...] = Field(
        default=DATA_FILES,
        min_length=1,
        description="Names to take, with * and ? as wildcards; upper and lower case are the same.",
    )
    min_age_s: float = Field(
        default=5.0, ge=0, le=86_400, description="Seconds a file must have been left unchanged before it is read."
    )
    done_suffix: str | None = Field(
        default=None,
        min_length=2,
        max_length=20,
        description="If set, e.g. '.done', a file is read only once a file of its name plus this stands beside it.",
    )
    max_file_bytes: int = Field(default=64 * MIB, gt=0, le=1024 * MIB, description="Largest file taken, in bytes.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("must be an absolute path: a relative one would depend on where the worker was started")
        return path

    @field_validator("patterns")
    @classmethod
    def _names_only(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern or "/" in pattern or "\\" in pattern:
                raise ValueError(f"{pattern!r} must be a name without folders, for example '*.csv'")
        return patterns

    @field_validator("done_suffix")
    @classmethod
    def _suffix(cls, suffix: str | None) -> str | None:
        if suffix is not None and (not suffix.startswith(".") or "/" in suffix):
            raise ValueError("must start with a dot and hold no folder, for example '.done'")
        return suffix
