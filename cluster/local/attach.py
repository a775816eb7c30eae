"""Reach the Ray cluster of a running stack from another process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.local.secrets import load_or_create
from cluster.local.stack import ADDRESS_FILE, StackError
from settings import Settings


@contextmanager
def attached(settings: Settings) -> Iterator[None]:
    """Be a driver of the cluster while the body runs: the one RAY_ADDRESS names, else the stack of the data folder.

    Raises:
        StackError: neither is there.
    """
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        path = settings.data_dir / "run" / ADDRESS_FILE
        if not path.exists():
            raise StackError(f"no stack runs on {settings.data_dir}: start one with `make up`, or set RAY_ADDRESS")
        address = path.read_text().strip()
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=load_or_create(settings.data_dir).ray_token)
    # Only now: Ray reads its token when it is first imported.
    import ray

    from actors.wiring import NAMESPACE

    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise StackError(f"the cluster at {address} does not answer: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
