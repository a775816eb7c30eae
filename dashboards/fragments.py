"""Pieces of HTML every page uses. Whatever comes from the API is escaped on its way through here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dashboards import format as f
from dashboards.api_types import Job
from dashboards.state import PageCursor

PRIORITIES = ("critical", "high", "medium", "low")
_STATES = ("waiting", "running", "done", "failed", "held", "cancelled")


def title(heading: str, sub: str = "") -> str:
    """Heading of a page with a line below; `sub` is HTML."""
    return f'<div class="title"><h1>{f.text(heading)}</h1><p class="soft">{sub}</p></div>'


def card(heading: str, body: str, aside: str = "", css: str = "") -> str:
    """A framed block; body and aside are HTML."""
    return (
        f'<section class="card {css}"><header><h2>{f.text(heading)}</h2><div class="row small soft">{aside}'
        f"</div></header>"
        f"{body}</section>"
    )


def empty(heading: str, hint: str) -> str:
    """What a block says when there is nothing to show, and what would change that."""
    return f'<div class="empty fmrp-empty"><strong>{f.text(heading)}</strong>{f.text(hint)}</div>'


def skeleton(heading: str) -> str:
    """A block whose content is still on its way."""
    return card(heading, '<div class="skeleton" role="status" aria-label="Loading"></div>')


def failure(message: str) -> str:
    """A block that could not be loaded, with a way to try again."""
    retry = '<p style="margin-top:14px"><button class="btn" data-action="reload">Try again</button></p>'
    return f'<div class="empty fmrp-error"><strong>This could not be loaded</strong>{f.text(message)}{retry}</div>'


def badge(value: str | None, tone: str = "", plain: bool = False) -> str:
    """A pill; its tone is the value itself when that is a priority or a job's state.

    A plain one shows the value as it is and has no dot.
    """
    known = value in PRIORITIES or value in _STATES
    css = f"{tone or (value if known else '')} {'plain' if plain else ''}"
    return f'<span class="badge {css}">{f.text(value if plain else f.label(value))}</span>'


def table(heads: Sequence[tuple[str, str]], rows: Iterable[str], css: str = "") -> str:
    """A table; heads are (text, class), rows are <tr> HTML."""
    head = "".join(f'<th class="{c}">{f.text(h) if h else ""}</th>' for h, c in heads)
    return (
        f'<div class="scroll"><table class="{css}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}'
        f"</tbody></table></div>"
    )


def bar(job: Job, css: str = "") -> str:
    """Progress bar of a job."""
    share = round(job.share * 100)
    return (
        f'<div class="bar fmrp-progress {escape(job.state)} {css}" role="progressbar" aria-valuemin="0"'
        f' aria-valuemax="100"'
        f' aria-valuenow="{share}"><i style="width:{share}%"></i></div>'
    )


def pager(cursor: PageCursor, noun: str) -> str:
    """Which rows are shown, and the way to the neighbours."""
    if not cursor.total:
        return ""
    last = cursor.first - 1 + cursor.shown
    back = "" if cursor.used else "disabled"
    on = "" if cursor.following else "disabled"
    return (
        f'<div class="pager"><span class="fmrp-pager-text">{f.number(cursor.first)} to {f.number(last)} of '
        f"{f.number(cursor.total)} {f.text(noun)}</span>"
        f'<span class="row"><button class="btn fmrp-previous" data-action="previous" {back}>Previous</button>'
        f'<button class="btn fmrp-next" data-action="next" {on}>Next</button></span></div>'
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Named values side by side; values are HTML."""
    return (
        '<div class="facts">' + "".join(f"<div><span>{f.text(n)}</span><b>{v}</b></div>" for n, v in pairs) + "</div>"
    )
