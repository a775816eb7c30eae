"""How much of a file is taken at most, whatever it claims about itself, and how long reading it may take."""

import time
from dataclasses import dataclass

from ingestion.errors import TooSlow

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for one file; sizes in bytes. `max_ratio` is unpacked over packed size.

    max_memory: what reading a binary format may need on top of what the reader is itself. max_members: files in a ZIP
    archive. max_pages: pages of a PDF.
    """

    max_bytes: int = 64 * MIB
    max_uncompressed: int = 512 * MIB
    max_ratio: float = 200.0
    max_rows: int = 2_000_000
    max_columns: int = 200
    max_cells: int = 30_000_000
    max_cell_chars: int = 32_767
    max_pages: int = 500
    max_members: int = 200
    max_seconds: float = 120.0
    max_memory: int = 3 * GIB

    # Below this a high ratio is harmless: a few repeated lines compress 300-fold.
    ratio_free_bytes: int = 4 * MIB


class Deadline:
    """The moment by which a file must have been read, counted from the making of this.

    seconds: what is allowed in all; left_s: what is left of it, if another process has used some.
    """

    def __init__(self, seconds: float, left_s: float | None = None) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + (seconds if left_s is None else left_s)

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - time.monotonic())

    def check(self, reached: str) -> None:
        """Raises TooSlow once the time is up, saying how far reading had come ('page 12 of 80')."""
        if self.left_s <= 0:
            raise too_slow(self.seconds, reached)


def too_slow(seconds: float, reached: str = "") -> TooSlow:
    """The error for a file that was still being read after `seconds`."""
    told = f"reading it took more than {seconds:g} s" + (f" and had come to {reached}" if reached else "")
    return TooSlow(told, expected="a smaller file: split it, for instance by month, and send the parts")
