"""How much of a file is taken at most, whatever it claims about itself."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for one file; sizes in bytes. `max_ratio` is unpacked over packed size."""

    max_bytes: int = 64 * MIB
    max_uncompressed: int = 512 * MIB
    max_ratio: float = 200.0
    max_rows: int = 2_000_000
    max_columns: int = 200
    max_cells: int = 30_000_000
    max_cell_chars: int = 32_767

    # Below this a high ratio is harmless: a few repeated lines compress 300-fold.
    ratio_free_bytes: int = 4 * MIB
