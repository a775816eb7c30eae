"""Two small browser components: escaped HTML that reports clicks, and the address bar, history and theme cookie."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

from dashboards.theme import asset

PLACE_OF_PARTS = "<!--parts-->"
Action = Callable[[str, str], Awaitable[None] | None]

_MARKUP_JS = """
// Patches the shown tree instead of replacing it: bars glide, focus stays, a text selection survives an update.
function sync(parent, shown, wanted) {
  if (shown.nodeType !== wanted.nodeType || shown.nodeName !== wanted.nodeName
      || shown.dataset?.key !== wanted.dataset?.key) {
    parent.replaceChild(wanted, shown)
  } else if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) { shown.data = wanted.data }
  } else if (shown.nodeType === Node.ELEMENT_NODE) {
    for (const {name} of [...shown.attributes]) { if (!wanted.hasAttribute(name)) { shown.removeAttribute(name) } }
    for (const {name, value} of [...wanted.attributes]) {
      if (shown.getAttribute(name) !== value) { shown.setAttribute(name, value) }
    }
    morph(shown, wanted)
  }
}
function morph(shown, wanted) {
  const before = [...shown.childNodes]
  const after = [...wanted.childNodes]
  after.forEach((node, i) => i < before.length ? sync(shown, before[i], node) : shown.appendChild(node))
  before.slice(after.length).forEach((node) => node.remove())
}
function parse(html) {
  const template = document.createElement("template")
  template.innerHTML = html
  return template.content
}
// Keyed parts that have changed since `html` was sent; all of them, so that a view made later shows them too.
function patch(root, parts) {
  for (const part of parts) {
    const wanted = parse(part).firstElementChild
    const shown = root.querySelector(`[data-key="${CSS.escape(wanted.dataset.key)}"]`)
    if (shown) { sync(shown.parentNode, shown, wanted) }
  }
}
export function render({model}) {
  const root = document.createElement("div")
  root.className = "view"
  root.innerHTML = model.html
  patch(root, model.parts)
  model.on("html", () => { morph(root, parse(model.html)) })
  model.on("parts", () => { patch(root, model.parts) })
  const act = (event) => {
    const source = event.target.closest("[data-action]")
    if (!source || source.disabled || event.ctrlKey || event.metaKey) { return }
    event.preventDefault()
    model.send_msg({action: source.dataset.action, value: source.dataset.value ?? ""})
  }
  root.addEventListener("click", act)
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("tr[data-action]")) { act(event) }
  })
  return root
}
"""

_BROWSER_JS = """
export function render({model}) {
  model.on("path", () => { if (location.pathname !== model.path) { history.pushState(null, "", model.path) } })
  model.on("page_title", () => { document.title = model.page_title })
  model.on("leave_to", () => { if (model.leave_to) { location.assign(model.leave_to) } })
  model.on("dark", () => {
    document.cookie = `fmrp_theme=${model.dark ? "dark" : "light"}; path=/; max-age=31536000; SameSite=Lax`
  })
  const went = () => model.send_msg({path: location.pathname})
  window.addEventListener("popstate", went)
  model.on("remove", () => window.removeEventListener("popstate", went))
  // On a phone the navigation lies over the page, so it starts closed.
  // Asked for by the server: a message sent while the document is still being built is lost.
  model.on("ready", () => { if (window.innerWidth < 900) { model.send_msg({narrow: true}) } })
  const root = document.createElement("span")
  root.hidden = true
  return root
}
"""


class Markup(JSComponent):  # type: ignore[misc]
    """Shows `html` (already escaped) in the dashboard's style; an element with data-action calls `on_action`.

    `parts` replace the elements of `html` that have their data-key: a long table need not be sent whole for a few rows.
    """

    html = param.String(default="")
    parts = param.List(default=[])

    _esm = _MARKUP_JS

    def __init__(self, html: str = "", on_action: Action | None = None, **params: Any) -> None:
        params.setdefault("sizing_mode", "stretch_width")
        params.setdefault("margin", (0, 0, 16, 0))
        super().__init__(html=html, stylesheets=[asset("app.css")], **params)
        self._on_action = on_action
        self._whole = ""
        self._frame = ""
        self._sent: dict[str, str] = {}
        self._moved: set[str] = set()

    def show_parts(self, frame: str, parts: dict[str, str]) -> None:
        """Show keyed elements inside `frame`, at its `PLACE_OF_PARTS`.

        While frame and keys stay the same, only elements that changed since all were sent are sent again.
        """
        if self.html == self._whole and (frame, list(parts)) == (self._frame, list(self._sent)):
            # Once changed, always told of: an element that changes back differs from what is shown all the same.
            self._moved |= {key for key, html in parts.items() if html != self._sent[key]}
            self.parts = [html for key, html in parts.items() if key in self._moved]
            return
        self._frame, self._sent, self._moved = frame, parts, set()
        self._whole = frame.replace(PLACE_OF_PARTS, "".join(parts.values()), 1)
        # In this order: the old parts must not be put into the new whole.
        self.parts = []
        self.html = self._whole

    def _handle_msg(self, data: Any) -> None:
        if self._on_action is None or not isinstance(data, dict):
            return
        outcome = self._on_action(str(data.get("action", "")), str(data.get("value", "")))
        if outcome is not None:
            pn.state.execute(partial(_finish, outcome))


async def _finish(outcome: Awaitable[None]) -> None:
    await outcome


class Browser(JSComponent):  # type: ignore[misc]
    """Address bar, history, title and theme cookie of one tab; `leave_to` opens another document."""

    path = param.String(default="/")
    page_title = param.String(default="")
    leave_to = param.String(default="")
    dark = param.Boolean(default=False)
    ready = param.Boolean(default=False)

    _esm = _BROWSER_JS

    def __init__(self, on_path: Callable[[str], None], on_narrow: Callable[[], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_path = on_path
        self._on_narrow = on_narrow

    def _handle_msg(self, data: Any) -> None:
        if isinstance(data, dict) and isinstance(data.get("path"), str):
            self._on_path(data["path"])
        elif isinstance(data, dict) and data.get("narrow"):
            self._on_narrow()
