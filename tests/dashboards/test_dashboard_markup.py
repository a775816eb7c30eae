"""Long tables: what is sent again, and what a browser shows that puts the parts in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.markup import PLACE_OF_PARTS, Markup

FRAME = f"<table>{PLACE_OF_PARTS}</table>"


def row(key: str, text: str) -> str:
    return f'<tr data-key="{key}">{text}</tr>'


class Browser:
    """Shows the markup as the script does: whole html replaces, parts replace the rows with their key."""

    def __init__(self, markup: Markup) -> None:
        self.shown: dict[str, str] = {}
        self._markup = markup
        markup.param.watch(self._whole, "html")
        markup.param.watch(lambda event: self._patch(event.new), "parts")

    def _whole(self, _event: object) -> None:
        rows = self._markup.html.removeprefix("<table>").removesuffix("</table>").split("</tr>")
        self.shown = {}
        self._patch([f"{each}</tr>" for each in rows if each])

    def _patch(self, parts: list[str]) -> None:
        for part in parts:
            self.shown[part.split('"')[1]] = part


def test_only_rows_that_changed_are_sent_again() -> None:
    markup = Markup()
    markup.show_parts(FRAME, {"a": row("a", "1"), "b": row("b", "1")})
    whole = markup.html
    markup.show_parts(FRAME, {"a": row("a", "1"), "b": row("b", "2")})
    assert markup.html is whole
    assert markup.parts == [row("b", "2")]


def test_after_something_else_was_shown_the_whole_is_sent() -> None:
    markup = Markup()
    rows = {"a": row("a", "1")}
    markup.show_parts(FRAME, rows)
    markup.html = "<p>Could not be loaded</p>"
    markup.show_parts(FRAME, rows)
    assert markup.html == FRAME.replace(PLACE_OF_PARTS, row("a", "1"))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), min_size=1), max_size=12))
def test_the_browser_always_shows_what_was_meant(states: list[dict[str, int]]) -> None:
    markup = Markup()
    browser = Browser(markup)
    for state in states:
        rows = {key: row(key, str(number)) for key, number in state.items()}
        markup.show_parts(FRAME, rows)
        assert browser.shown == rows
