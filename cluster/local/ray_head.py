"""The Ray side of the embedded stack, in a process of its own: head node, actors, Serve applications.

Run as `python -m cluster.local.ray_head READY_FILE`. Writes the ready file once everything answers, ends cleanly on
SIGTERM, and ends with an error when a process of the head has died, so that the stack starts it anew.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import ray
from ray import serve
from ray.serve.config import HTTPOptions

from actors.logs import configure_logs
from actors.wiring import NAMESPACE, dispatcher_names, start_actors
from cluster.local.stack import ADDRESS_FILE
from serve.deployments import APPLICATIONS
from settings import Settings, load

OBJECT_STORE_BYTES = 300 * 1024 * 1024
# Ray adds about 70 characters to it.
LONGEST_TEMPORARY_FOLDER = 30
LOOK_S = 0.1
# What handing over takes beyond the patience with running jobs.
STOP_ROOM_S = 8.0
HEAD_PROCESSES = ("raylet", "gcs_server")


def start(settings: Settings) -> None:
    """Bring up the head, the actors and the applications."""
    ray.init(
        address="local",
        namespace=NAMESPACE,
        # Logical: actors wait more than they compute, and a 2-core laptop must hold them all.
        num_cpus=max(4, os.cpu_count() or 1),
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=_socket_folder(),
        configure_logging=False,
    )
    # Before Serve: jobs that an earlier head left behind wait for the dispatcher, not for the API.
    start_actors()
    serve.start(
        http_options=HTTPOptions(host=settings.host, port=settings.api_port, keep_alive_timeout_s=310),
    )
    targets = [serve.RunTarget(target, name=name, route_prefix=prefix) for name, target, prefix in APPLICATIONS]
    serve.run_many(targets)


def _socket_folder() -> str | None:
    """Ray's folder when the usual one would make its socket paths longer than the 107 bytes a socket's may have."""
    return "/tmp/ray" if len(tempfile.gettempdir()) > LONGEST_TEMPORARY_FOLDER else None  # noqa: S108 - Ray's own default


def watch(stopped: threading.Event) -> int:
    """Wait for the end: 0 when asked to stop, 1 when a head process has died."""
    head = [child for child in psutil.Process().children(recursive=True) if child.name() in HEAD_PROCESSES]
    while not stopped.wait(LOOK_S):
        dead = [process for process in head if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE]
        if dead:
            sys.stderr.write("a process of the Ray head has died\n")
            return 1
    return 0


def stop() -> None:
    """Let the dispatchers hand over what they hold, then take everything down."""
    settings = load()
    try:
        dispatchers = [ray.get_actor(name, namespace=NAMESPACE) for name in dispatcher_names(settings)]
        stops = [dispatcher.stop.remote() for dispatcher in dispatchers]
        ray.get(stops, timeout=settings.drain_patience_s + STOP_ROOM_S)
    except (ValueError, ray.exceptions.RayError) as error:
        sys.stderr.write(f"dispatchers not stopped politely: {error}\n")
    serve.shutdown()
    ray.shutdown()


def main() -> int:
    """Run until told to stop."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    began = time.monotonic()
    settings = load()
    configure_logs(settings.log_level, "ray-head")
    start(settings)
    ready = Path(sys.argv[1])
    ready.with_name(ADDRESS_FILE).write_text(ray.get_runtime_context().gcs_address)
    ready.write_text(f"{time.monotonic() - began:.1f}")
    code = watch(stopped)
    if code == 0:
        stop()
    # A broken head leaves library threads that would keep the process; the stack ends what remains of its children.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
