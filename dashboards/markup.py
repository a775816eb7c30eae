"""Two small browser components: escaped HTML that reports clicks, and the address bar, history and theme cookie."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

from dashboards.theme import asset

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
export function render({model}) {
  const root = document.createElement("div")
  root.className = "view"
  root.innerHTML = model.html
  model.on("html", () => {
    const next = document.createElement("template")
    next.innerHTML = model.html
    morph(root, next.content)
  })
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
    """Shows `html` (already escaped) in the dashboard's style; an element with data-action calls `on_action`."""

    html = param.String(default="")

    _esm = _MARKUP_JS

    def __init__(self, html: str = "", on_action: Action | None = None, **params: Any) -> None:
        params.setdefault("sizing_mode", "stretch_width")
        params.setdefault("margin", (0, 0, 16, 0))
        super().__init__(html=html, stylesheets=[asset("app.css")], **params)
        self._on_action = on_action

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
