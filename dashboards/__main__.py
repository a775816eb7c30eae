"""`python -m dashboards`: serve the dashboard until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence

from dashboards.logs import configure_logs


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Serve the Forecasting MRP dashboard.")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default 3000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--api", default="http://127.0.0.1:8000/api/v1", help="base address of the API")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="public address browsers use; may be repeated",
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop; 0, or 1 when the port cannot be had."""
    from dashboards.server import DashboardServer, Options

    stop = asyncio.Event()
    secret = os.environ.get("FMRP_COOKIE_SECRET") or secrets.token_urlsafe(48)
    server = DashboardServer(
        Options(options.api.rstrip("/"), secret, options.host, options.port, tuple(options.allow_origin))
    )
    try:
        server.start()
    except OSError as error:
        logging.getLogger("dashboards").error("Cannot listen on %s:%s: %s", options.host, options.port, error.strerror)
        return 1
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = arguments(argv)
    configure_logs(options.log_level)
    for noisy in ("bokeh", "tornado.access", "httpx", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return asyncio.run(serve(options))


if __name__ == "__main__":
    sys.exit(main())
