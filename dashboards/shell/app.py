"""One session: the frame, routing between pages, notices, confirmations, and the task that passes job changes on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import panel as pn
import panel_material_ui as pmui
from panel.io.state import set_curdoc

from dashboards import format as f
from dashboards.api_client import ApiClient
from dashboards.auth import THEME_COOKIE, login_again_url
from dashboards.markup import Browser, Markup
from dashboards.pacing import pause_s
from dashboards.pages.data import DataPage
from dashboards.pages.forecasts import ForecastsPage
from dashboards.pages.jobs import JobsPage
from dashboards.pages.purchasing import PurchasingPage
from dashboards.pages.today import TodayPage
from dashboards.sessions import SessionStore, SignedIn
from dashboards.shell.context import Context, Page
from dashboards.shell.navigation import nav_html, place_of, top_html
from dashboards.state import JobBoard
from dashboards.theme import NATURAL_HEIGHT, PAGE_SX, THEME_CONFIG

logger = logging.getLogger(__name__)

# A document that is closing never draws what was scheduled.
LONGEST_DRAWING_S = 5.0

_PAGES: dict[str, Callable[[Context], Page]] = {
    "/": TodayPage,
    "/jobs": JobsPage,
    "/forecasts": ForecastsPage,
    "/purchasing": PurchasingPage,
    "/data": DataPage,
}


@dataclass(frozen=True)
class Process:
    """What all sessions of a process share."""

    http: httpx.AsyncClient
    api_url: str
    sessions: SessionStore
    board: JobBoard

    def client_for(self, signed_in: SignedIn) -> ApiClient:
        """API client acting as the owner of a log-in, for as long as that lasts."""
        return ApiClient(self.http, self.api_url, partial(self._token_of, signed_in))

    async def _token_of(self, signed_in: SignedIn) -> str:
        return await self.sessions.token_of(signed_in, ApiClient(self.http, self.api_url))


class Shell:
    """The frame of one session."""

    def __init__(self, process: Process, signed_in: SignedIn, path: str, dark: bool) -> None:
        self._process = process
        self._signed_in = signed_in
        self._pages: dict[str, Page] = {}
        self._here = place_of(path).path
        self._changed = asyncio.Event()
        self._drawn = asyncio.Event()
        self._drawing_s = 0.0
        self._is_narrow = False
        self._on_confirm: Callable[[], Awaitable[None]] | None = None
        self._context = Context(
            api=process.client_for(signed_in),
            user=signed_in.user,
            board=process.board,
            notify=self._notify,
            confirm=self._confirm,
            go=self._go,
            sign_in_again=self._sign_in_again,
            dark=dark,
        )
        self._browser = Browser(on_path=self._go, on_narrow=self._narrow, path=self._here, dark=dark)
        self._notice = Markup(on_action=self._dismiss, visible=False, css_classes=["fmrp-notice"])
        self._nav = Markup(nav_html(self._here), margin=0, on_action=lambda _, path: self._go(path))
        self._top = Markup(top_html(signed_in.user, process.board.connection), margin=0)
        self._content = pn.Column(sizing_mode="stretch_width", min_height=400, styles=NATURAL_HEIGHT)
        self._dialog, self._dialog_text, self._dialog_do = self._confirmation()
        self.page = self._frame(dark)
        self.page.param.watch(self._dark_switched, "dark_theme")

    def _frame(self, dark: bool) -> Any:
        body = pn.Column(
            self._notice,
            self._content,
            self._dialog,
            self._browser,
            sizing_mode="stretch_width",
            margin=(4, 24, 40, 24),
            styles=NATURAL_HEIGHT,
        )
        return pmui.Page(
            title="",
            header=[self._top],
            sidebar=[self._nav],
            main=[body],
            sidebar_width=232,
            sidebar_resizable=False,
            main_width=1440,
            app_bar_width="100%",
            dark_theme=dark,
            theme_config=THEME_CONFIG,
            sx=PAGE_SX,
            busy_indicator=None,
            meta=pmui.template.base.Meta(title="Forecasting MRP", name="Forecasting MRP"),
        )

    def _confirmation(self) -> tuple[Any, Any, Any]:
        text = Markup()
        do = pmui.Button(label="Yes", color="primary", variant="contained", css_classes=["fmrp-confirm"])
        keep = pmui.Button(label="Keep as it is", variant="text", css_classes=["fmrp-dismiss"])
        dialog = pmui.Dialog(
            text, pn.Row(do, keep, styles=NATURAL_HEIGHT), open=False, show_close_button=False, width_option="xs"
        )
        do.on_click(self._confirmed)
        keep.on_click(lambda _: dialog.param.update(open=False))
        return dialog, text, do

    def opened(self) -> None:
        """The browser has the document: it may tell of itself now."""
        self._browser.ready = True

    async def show(self) -> None:
        """Make the page of the current address, show it and read its data."""
        place = place_of(self._here)
        page = self._pages.get(place.path)
        if page is None:
            page = self._pages[place.path] = _PAGES[place.path](self._context)
        self._nav.html = nav_html(place.path)
        self._browser.page_title = f"{place.name} · Forecasting MRP"
        self._content.objects = [page.view]
        page.jobs_changed()
        await page.load()

    async def pass_changes_on(self, document: Any) -> None:
        """Until cancelled: hand the newest state of the job board to the shown page, as often as drawing allows."""
        stop = self._process.board.listen(self._changed.set)
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._drawn.clear()
                with set_curdoc(document):
                    pn.state.execute(self._board_changed, schedule=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_DRAWING_S):
                        await self._drawn.wait()
                await asyncio.sleep(pause_s(self._drawing_s, self._process.board.listeners))
        finally:
            stop()

    def _board_changed(self) -> None:
        began = time.monotonic()
        try:
            self._top.html = top_html(self._signed_in.user, self._process.board.connection)
            page = self._pages.get(self._here)
            if page is not None:
                page.jobs_changed()
        finally:
            self._drawing_s = time.monotonic() - began
            self._drawn.set()

    def _go(self, path: str) -> None:
        self._here = place_of(path).path
        # The browser pushes a history entry only where the address differs, so going back adds none.
        self._browser.path = self._here
        if self._is_narrow:
            self.page.sidebar_open = False
        self._notice.visible = False
        pn.state.execute(self.show)

    def _narrow(self) -> None:
        self._is_narrow = True
        self.page.sidebar_open = False

    def _dark_switched(self, event: Any) -> None:
        self._context.dark = bool(event.new)
        self._browser.dark = bool(event.new)
        for page in self._pages.values():
            page.dark_changed(bool(event.new))

    def _notify(self, text: str, tone: str) -> None:
        role = "alert" if tone == "error" else "status"
        self._notice.html = (
            f'<div class="message {f.text(tone) if tone else ""}" role="{role}"><span>{f.text(text)}</span>'
            '<button class="btn" data-action="dismiss" aria-label="Dismiss">Dismiss</button></div>'
        )
        self._notice.visible = True

    def _dismiss(self, _action: str, _value: str) -> None:
        self._notice.visible = False

    def _confirm(self, title: str, text: str, label: str, do: Callable[[], Awaitable[None]]) -> None:
        self._on_confirm = do
        self._dialog.title = title
        self._dialog_text.html = f'<p class="soft">{f.text(text)}</p>'
        self._dialog_do.label = label
        self._dialog.open = True

    async def _confirmed(self, _: object) -> None:
        self._dialog.open = False
        do, self._on_confirm = self._on_confirm, None
        if do is not None:
            await do()

    def _sign_in_again(self) -> None:
        self._process.sessions.remove(self._signed_in.key)
        self._browser.leave_to = login_again_url(self._here)


def build_app(process: Process) -> Callable[[], Any]:
    """Function for pn.serve: makes a session's page and ties its task to the session's life."""

    def app() -> Any:
        document = pn.state.curdoc
        request = document.session_context.request
        signed_in = getattr(request, "fmrp_signed_in", None)
        if signed_in is None:
            return pn.pane.HTML('<p>You are signed out. <a href="/login">Sign in</a>.</p>')
        dark = pn.state.cookies.get(THEME_COOKIE) == "dark"
        pn.config.theme = "dark" if dark else "default"
        shell = Shell(process, signed_in, request.path.removesuffix("/ws"), dark)
        tasks: list[asyncio.Task[None]] = []

        async def loaded() -> None:
            shell.opened()
            tasks.append(asyncio.create_task(shell.pass_changes_on(document)))
            await shell.show()

        def destroyed(_: object) -> None:
            for task in tasks:
                task.cancel()

        pn.state.onload(loaded)
        pn.state.on_session_destroyed(destroyed)
        return shell.page

    return app
