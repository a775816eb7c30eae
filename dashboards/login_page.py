"""The log-in page: one self-contained document, no script, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape

from dashboards.theme import LOGO_SVG, asset

_PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Sign in · Forecasting MRP</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<main class="fmrp-login">
  <header>{logo}<span>Forecasting MRP</span></header>
  <h1>Sign in</h1>
  <p class="lead">From yesterday's sales to today's orders.</p>
  {message}
  <form method="post" action="/login" class="fmrp-login-form">
    <input type="hidden" name="next" value="{next_path}">
    <label for="email">Email</label>
    <input id="email" name="email" type="email" autocomplete="username" required value="{email}" {email_focus}>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required {password_focus}>
    {new_password}
    <button type="submit" class="fmrp-login-submit">Sign in</button>
  </form>
</main>
</body>
</html>"""


_CHOICE = """<label for="new_password">Your new password</label>
    <input id="new_password" name="new_password" type="password" autocomplete="new-password" required>"""


def login_html(
    next_path: str, email: str = "", error: str = "", notice: str = "", theme: str = "auto", *, chooses: bool = False
) -> str:
    """The page as text. All arguments are escaped here; `theme` is light, dark or auto (the browser's choice).

    Who `chooses` is asked for a password of their own as well.
    """
    message = ""
    if error:
        message = f'<p class="message error fmrp-login-error" role="alert">{escape(error)}</p>'
    elif notice:
        message = f'<p class="message fmrp-login-notice" role="status">{escape(notice)}</p>'
    return _PAGE.format(
        theme=theme if theme in {"light", "dark"} else "auto",
        css=asset("login.css"),
        logo=LOGO_SVG,
        message=message,
        next_path=escape(next_path, quote=True),
        email=escape(email, quote=True),
        new_password=_CHOICE if chooses else "",
        email_focus="" if email else "autofocus",
        password_focus="autofocus" if email else "",
    )
