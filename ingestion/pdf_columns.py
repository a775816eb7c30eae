"""A table without rules, from where its words stand: lines, cells in a line, and the column each belongs to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# In shares of the height of the letters. A space is 0.25 to 0.3 of it, in typewriter letters 0.6.
_GAP_BETWEEN_CELLS = 0.75
_SAME_LINE = 0.4
_WRAPPED_WITHIN = 1.35


@dataclass(frozen=True, slots=True)
class Cell:
    """Words that stand together, and from where to where on the page (points)."""

    text: str
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class TextLine:
    """Cells of one line, from left to right; its middle and the height of its letters (points)."""

    cells: list[Cell]
    middle: float
    height: float

    @property
    def texts(self) -> list[str]:
        """The cells' texts."""
        return [cell.text for cell in self.cells]


def text_lines(words: Sequence[dict[str, Any]]) -> list[TextLine]:
    """pdfplumber's words as lines, from the top of the page."""
    lines: list[list[dict[str, Any]]] = []
    for word in sorted(words, key=_middle):
        if lines and abs(_middle(word) - _middle(lines[-1][0])) <= _SAME_LINE * max(word["bottom"] - word["top"], 1.0):
            lines[-1].append(word)
        else:
            lines.append([word])
    return [_text_line(line) for line in lines]


def _middle(word: dict[str, Any]) -> float:
    return float(word["top"] + word["bottom"]) / 2


def _text_line(words: list[dict[str, Any]]) -> TextLine:
    height = max(float(max(word["bottom"] - word["top"] for word in words)), 1.0)
    cells: list[Cell] = []
    for word in sorted(words, key=lambda word: float(word["x0"])):
        if cells and word["x0"] - cells[-1].right <= _GAP_BETWEEN_CELLS * height:
            last = cells.pop()
            cells.append(Cell(f"{last.text} {word['text']}", last.left, max(last.right, float(word["x1"]))))
        else:
            cells.append(Cell(str(word["text"]), float(word["x0"]), float(word["x1"])))
    return TextLine(cells, _middle(words[0]), height)


def rows_below(columns: list[Cell], lines: Iterable[tuple[int, TextLine]]) -> list[tuple[int, list[str]]]:
    """Numbered lines as rows of cells, one a column.

    A line of one cell is no row where a row has three columns or more: it goes on with the cell above it if it is close
    to it, and is text between the rows otherwise (a title, a page number).
    """
    rows: list[tuple[int, list[str]]] = []
    above: TextLine | None = None
    for number, line in lines:
        places = [_column(cell, columns) for cell in line.cells]
        if len(line.cells) == 1 and (len(columns) > 2 or _spans(line.cells[0], columns) > 1):
            close = above is not None and line.middle - above.middle <= _WRAPPED_WITHIN * line.height
            if rows and close and places[0] > 0 and _spans(line.cells[0], columns) == 1:
                cells = rows[-1][1]
                cells[places[0]] = f"{cells[places[0]]} {line.cells[0].text}".strip()
                above = line
            else:
                above = None
            continue
        cells = [""] * len(columns)
        for place, cell in zip(places, line.cells, strict=True):
            cells[place] = f"{cells[place]} {cell.text}".strip()
        rows.append((number, cells))
        above = line
    return rows


def _spans(cell: Cell, columns: list[Cell]) -> int:
    return sum(cell.left < column.right and column.left < cell.right for column in columns)


def _column(cell: Cell, columns: list[Cell]) -> int:
    """The column a cell shares the most room with; the nearest where it shares none."""

    def shared(column: Cell) -> float:
        return min(cell.right, column.right) - max(cell.left, column.left)

    return max(range(len(columns)), key=lambda at: shared(columns[at]))
