"""What a page may use: the API as the user, the job board, and the frame around it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from dashboards.api_client import ApiClient, ApiProblem
from dashboards.api_types import User
from dashboards.state import JobBoard

logger = logging.getLogger(__name__)


class Page(Protocol):
    """A page of the dashboard; one instance per session, made when first visited."""

    view: Any

    async def load(self) -> None:
        """Read everything anew and show it."""

    def jobs_changed(self) -> None:
        """The job board changed; called at most four times a second, with the document's lock."""

    def dark_changed(self, dark: bool) -> None:
        """The theme was switched."""


@dataclass
class Context:
    """Shared by the pages of one session; the callables are the frame's."""

    api: ApiClient
    user: User
    board: JobBoard
    notify: Callable[[str, str], None]
    confirm: Callable[[str, str, str, Callable[[], Awaitable[None]]], None]
    go: Callable[[str], None]
    sign_in_again: Callable[[], None]
    dark: bool = False

    @staticmethod
    def now() -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def explain(self, problem: ApiProblem) -> str:
        """Text for a refused request; a refused token leads to the log-in page instead."""
        if problem.status == 401:
            self.sign_in_again()
            return "Your session has ended."
        logger.info("API refused a request of %s: %s", self.user.email, problem.sentence)
        return problem.sentence

    async def attempt(self, call: Awaitable[Any], success: str = "") -> bool:
        """Await a call made for its effect; tell the outcome in a notice. True when it worked."""
        try:
            await call
        except ApiProblem as problem:
            self.notify(self.explain(problem), "error")
            return False
        if success:
            self.notify(success, "")
        return True
