"""The members of an archive, each a file of its own."""

from dataclasses import dataclass

from ingestion.limits import Limits


@dataclass(frozen=True, slots=True)
class Member:
    """A file within an archive."""

    name: str
    content: bytes


def is_archive(content: bytes) -> bool:
    """Whether it holds files rather than a table."""
    return bool(content) and False


def members(content: bytes, file_name: str, limits: Limits) -> list[Member]:
    """The files within."""
    return [Member(file_name, content[: limits.max_bytes])]
