"""The pages there are, their addresses, and the two pieces of frame that show where one is."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards import format as f
from dashboards.api_types import User
from dashboards.theme import LOGO_SVG


@dataclass(frozen=True)
class Place:
    """A page's address, name and icon (SVG path data)."""

    path: str
    name: str
    icon: str


PLACES = (
    Place(
        "/",
        "Today",
        '<circle cx="12" cy="12" r="4"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4'
        ' 1.4M5.6 18.4 7 17M17 7l1.4-1.4"/>',
    ),
    Place(
        "/jobs",
        "Jobs",
        '<path d="M4 6h10M4 12h16M4 18h7"/><circle cx="18" cy="6" r="2"/><circle cx="15" cy="18" r="2"/>',
    ),
    Place("/forecasts", "Forecasts", '<path d="M4 19V5M4 19h16"/><path d="m7 14 4-4 3 3 5-6"/>'),
    Place(
        "/purchasing",
        "Purchasing",
        '<path d="M5 4h2l2 11h9l2-8H8"/><circle cx="10" cy="19" r="1.5"/><circle cx="17" cy="19" r="1.5"/>',
    ),
    Place(
        "/data",
        "Data",
        '<ellipse cx="12" cy="6" rx="7" ry="3"/><path d="M5 6v12c0 1.7 3.1 3 7 3s7-1.3 7-3V6M5 12c0 1.7'
        ' 3.1 3 7 3s7-1.3 7-3"/>',
    ),
)


def place_of(path: str) -> Place:
    """The page at a path; the first page for a path nobody knows."""
    wanted = "/" + path.strip("/")
    return next((place for place in PLACES if place.path == wanted), PLACES[0])


def nav_html(here: str) -> str:
    """Left navigation; real links, so that they open in a new tab as well."""
    links = (
        f'<a href="{p.path}" data-action="go" data-value="{p.path}" class="fmrp-nav-{p.name.lower()}'
        f' {"here" if p.path == here else ""}"'
        f' {"aria-current=page" if p.path == here else ""}><svg viewBox="0 0 24 24"'
        f' aria-hidden="true">{p.icon}</svg>{p.name}</a>'
        for p in PLACES
    )
    return f'<nav class="fmrp-nav" aria-label="Pages">{"".join(links)}</nav>'


def top_html(user: User, connection: str) -> str:
    """Content of the top bar: product, state of the event stream when it is not live, user, log-out."""
    chip = (
        '<span class="badge high fmrp-reconnecting" role="status">Reconnecting</span>'
        if connection == "reconnecting"
        else ""
    )
    return (
        f'<div class="top" data-connection="{f.text(connection)}"><div class="brand">{LOGO_SVG}'
        f"<span>Forecasting MRP</span></div>"
        f'<div class="row" style="gap:14px;flex-wrap:nowrap">{chip}<div class="who fmrp-user">'
        f"<b>{f.text(user.name or user.email)}</b>"
        f'<span class="soft">{f.text(f.label(user.role))}</span></div>'
        '<form method="post" action="/logout"><button class="btn fmrp-logout" type="submit">Sign out'
        "</button></form></div></div>"
    )
