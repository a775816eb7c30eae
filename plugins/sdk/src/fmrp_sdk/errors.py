"""The errors a connector may raise, grouped by what the runner does next and not by where they arose."""


class ConnectorError(Exception):
    """Base of every error a connector raises on purpose; the message is a sentence the administrator can act on."""


class RetriableError(ConnectorError):
    """The source may well answer later (time-out, host down, quota): the runner waits and tries again.

    `retry_after_s` is the wait the source asked for, in seconds; None leaves it to the runner.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class SkippableError(ConnectorError):
    """This one file cannot be taken; the runner records why, commits the state after it and goes on with the next."""


class FatalError(ConnectorError):
    """Nothing will get better by trying again (wrong credentials, unknown state): the runner stops this source."""
