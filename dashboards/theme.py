"""Colours, type and style sheets: one accent, neutral greys, and status colours kept for status."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

ACCENT = {"light": "#0b7285", "dark": "#4db6c9"}
FONT = '"Inter", "Roboto", "Segoe UI", system-ui, sans-serif'

LOGO_SVG = (
    '<svg class="logo" viewBox="0 0 28 28" width="26" height="26" aria-hidden="true">'
    '<rect x="1" y="1" width="26" height="26" rx="7" fill="currentColor"/>'
    '<path d="M6 18.5 11 13l4 3.5 7-8" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"'
    ' stroke-linejoin="round"/><circle cx="22" cy="8.5" r="1.9" fill="#fff"/></svg>'
)


@cache
def asset(name: str) -> str:
    """Text of a style sheet in dashboards/assets."""
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


def _palette(mode: str) -> dict[str, Any]:
    light = mode == "light"
    return {
        "primary": {"main": ACCENT[mode], "contrastText": "#ffffff" if light else "#08242a"},
        "error": {"main": "#c92a2a" if light else "#ff8787"},
        "warning": {"main": "#d9480f" if light else "#ffa94d"},
        "info": {"main": "#b08900" if light else "#ffd43b"},
        "success": {"main": "#2b8a3e" if light else "#69db7c"},
        "background": {"default": "#f6f7f9", "paper": "#ffffff"}
        if light
        else {"default": "#14171a", "paper": "#1c2024"},
        "text": {"primary": "#1b2227", "secondary": "#5c6870"}
        if light
        else {"primary": "#e9edf0", "secondary": "#9aa6ae"},
        "divider": "#e4e8eb" if light else "#2c3238",
    }


def _theme(mode: str) -> dict[str, Any]:
    return {
        "palette": _palette(mode),
        "shape": {"borderRadius": 8},
        "typography": {"fontFamily": FONT, "button": {"textTransform": "none", "fontWeight": 600}},
        "components": {
            "MuiButton": {"defaultProps": {"disableElevation": True}},
            "MuiPaper": {"styleOverrides": {"root": {"backgroundImage": "none"}}},
        },
    }


THEME_CONFIG: dict[str, Any] = {"light": _theme("light"), "dark": _theme("dark")}

PAGE_SX: dict[str, Any] = {
    ".MuiAppBar-root.header": {
        "backgroundColor": "background.paper",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    ".MuiDrawer-paper": {"backgroundColor": "background.paper", "borderRight": "1px solid", "borderColor": "divider"},
    ".main": {"backgroundColor": "background.default"},
}

# One height for text fields and selects that stand side by side.
FIELD_SX: dict[str, Any] = {".MuiInputBase-root": {"height": "40px", "backgroundColor": "background.paper"}}

# Panel limits nested columns to the height of the visible area, where the next one would then cover their end.
NATURAL_HEIGHT = {"max-height": "none"}

# A chart stands on the same plate as the cards.
PLATE = {
    "background": "var(--mui-palette-background-paper)",
    "border": "1px solid var(--mui-palette-divider)",
    "border-radius": "12px",
    "padding": "10px 8px 4px",
    "margin-bottom": "16px",
}


def chart_colours(dark: bool) -> dict[str, str]:
    """Colours of a Bokeh figure, which cannot read the page's CSS variables."""
    palette = _palette("dark" if dark else "light")
    return {
        "accent": palette["primary"]["main"],
        "history": "#aeb8bf" if dark else "#3d4a52",
        "text": palette["text"]["secondary"],
        "grid": palette["divider"],
        "paper": palette["background"]["paper"],
    }
