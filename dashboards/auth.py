"""Log-in against the API: the auth provider, the log-in and log-out handlers, and the cookie that ties them.

Panel's own BasicLoginHandler keeps the user's name in a cookie and knows no token; its OAuth provider needs an
authorisation server. So the provider here finds the log-in in the session store by a signed HttpOnly cookie and
leaves the rest to Panel.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, urlsplit

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

from dashboards.api_client import ApiClient, ApiProblem
from dashboards.api_types import Login
from dashboards.login_page import login_html
from dashboards.sessions import SessionStore, SignedIn

logger = logging.getLogger(__name__)

COOKIE = "fmrp_session"
THEME_COOKIE = "fmrp_theme"
_CHOOSE = "This password was made for you. Enter it once more, and choose one of your own."
_CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'"
)


def safe_next(target: str | None) -> str:
    """The local path to go on to after log-in; "/" for anything that could leave this site."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or parts.path in {"/login", "/logout"} or any(ord(c) < 32 for c in target):
        return "/"
    return target


def signed_in_of(handler: RequestHandler, store: SessionStore) -> SignedIn | None:
    """The log-in a request belongs to, None when its cookie is missing, forged or outdated."""
    raw = handler.get_signed_cookie(COOKIE)
    return store.find(raw.decode("ascii", "ignore")) if raw else None


class ApiAuthProvider(AuthProvider):  # type: ignore[misc]
    """Lets requests through that carry a live log-in, sends the others to /login."""

    def __init__(self, store: SessionStore, api: ApiClient) -> None:
        self._store = store
        self._api = api
        super().__init__()

    @property
    def get_user(self) -> Any:
        """Callable for Bokeh: request handler -> email or None."""

        def user_of(handler: RequestHandler) -> str | None:
            signed_in = signed_in_of(handler, self._store)
            # The document finds its log-in on the request; the cookie's value never enters the page's session token.
            handler.request.fmrp_signed_in = signed_in
            return signed_in.user.email if signed_in else None

        return user_of

    @property
    def get_user_async(self) -> None:
        """Not used: looking a key up needs no waiting."""
        return

    @property
    def login_url(self) -> str:
        """Where requests without a log-in go."""
        return "/login"

    @property
    def get_login_url(self) -> None:
        """Not used: the address never varies."""
        return

    @property
    def login_handler(self) -> Any:
        """Handler class bound to this provider's store and API."""
        return type("BoundLoginHandler", (LoginHandler,), {"store": self._store, "api": self._api})

    @property
    def logout_url(self) -> str:
        """Where the log-out button posts to."""
        return "/logout"

    @property
    def logout_handler(self) -> Any:
        """Handler class bound to this provider's store and API."""
        return type("BoundLogoutHandler", (LogoutHandler,), {"store": self._store, "api": self._api})


def refuse_foreign_form(handler: RequestHandler) -> None:
    """Raise 403 when a form was posted from another site: it must not log anybody in or out."""
    origin = handler.request.headers.get("Origin")
    if origin and urlsplit(origin).netloc != handler.request.host:
        raise HTTPError(403, "cross-site form")


class LoginHandler(RequestHandler):  # type: ignore[misc]
    """GET shows the form, POST exchanges it for a token at the API."""

    store: SessionStore
    api: ApiClient

    def get(self) -> None:
        """Show the form, or go on when the visitor is already known."""
        target = safe_next(self.get_query_argument("next", "/"))
        if signed_in_of(self, self.store):
            self.redirect(target)
            return
        notice = "Your session has ended. Please sign in again." if self.get_query_argument("expired", "") else ""
        self._show(target, notice=notice)

    async def post(self) -> None:
        """Log in and go to where the visitor wanted to be; on refusal show the API's own words."""
        refuse_foreign_form(self)
        email = self.get_body_argument("email", "").strip()
        password = self.get_body_argument("password", "", strip=False)
        new_password = self.get_body_argument("new_password", "", strip=False)
        target = safe_next(self.get_body_argument("next", "/"))
        try:
            login = await self._log_in(email, password, new_password)
        except ApiProblem as problem:
            self.set_status(problem.status if problem.status in {400, 401, 403, 422, 429} else 503)
            self._show(target, email=email, error=problem.sentence, chooses=bool(new_password))
            return
        if login is None:
            self._show(target, email=email, notice=_CHOOSE, chooses=True)
            return
        signed_in = self.store.add(login)
        secure = self.request.protocol == "https"
        self.set_signed_cookie(COOKIE, signed_in.key, expires_days=None, httponly=True, secure=secure, samesite="Lax")
        self.redirect(target)

    async def _log_in(self, email: str, password: str, new_password: str) -> Login | None:
        """The tokens of a new log-in; None when the visitor has to choose a password first. Raises ApiProblem."""
        browser = self.request.headers.get("User-Agent", "").encode("ascii", "replace").decode()
        login = await self.api.login(email, password, browser)
        if not login.user.must_change_password:
            return login
        try:
            if new_password:
                return await self.api.acting_as(login.access_token).change_password(password, new_password)
        except ApiProblem:
            await end_log_in(self.api, login.refresh_token)
            raise
        await end_log_in(self.api, login.refresh_token)
        return None

    def _show(self, target: str, email: str = "", error: str = "", notice: str = "", *, chooses: bool = False) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", _CONTENT_POLICY)
        dark = self.get_cookie(THEME_COOKIE)
        theme = dark or "auto"
        self.write(login_html(next_path=target, email=email, error=error, notice=notice, theme=theme, chooses=chooses))


class LogoutHandler(RequestHandler):  # type: ignore[misc]
    """POST ends the log-in; GET only leads back, so that a link cannot log anybody out."""

    store: SessionStore
    api: ApiClient

    def get(self) -> None:
        """Back to the start page."""
        self.redirect("/")

    async def post(self) -> None:
        """End the log-in here, in the browser, and at the API."""
        refuse_foreign_form(self)
        signed_in = signed_in_of(self, self.store)
        if signed_in:
            self.store.remove(signed_in.key)
            await end_log_in(self.api, signed_in.refresh_token)
        self.clear_cookie(COOKIE)
        self.redirect("/login")


async def end_log_in(api: ApiClient, refresh_token: str) -> None:
    """Have the API end a log-in. Where it cannot be reached, the tokens nobody holds any more end by themselves."""
    if not refresh_token:
        return
    try:
        await api.log_out(refresh_token)
    except ApiProblem as problem:
        logger.warning("A log-in was not ended at the API: %s", problem.sentence)


def login_again_url(path: str) -> str:
    """Address of the log-in page for a session whose token was refused while it showed `path`."""
    return f"/login?expired=1&next={quote(safe_next(path), safe='')}"
