"""A Ray cluster of two nodes with a link between them that can be cut: the far node lives in a network namespace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cluster.local.process import MARK, end_all, family
from cluster.local.redis import free_port

# Names and addresses of this process's own, so that two runs on one machine do not meet.
_NUMBER = os.getpid() % 65_000
_NETWORK = f"10.{213 + _NUMBER // 16_384}.{_NUMBER // 64 % 256}"
_HOST = _NUMBER % 64 * 4
NEAR, FAR = f"{_NETWORK}.{_HOST + 1}", f"{_NETWORK}.{_HOST + 2}"
NAMESPACE, NEAR_END, FAR_END = f"fmrp-far-{_NUMBER}", f"fmrpn{_NUMBER}", f"fmrpf{_NUMBER}"
# Ray's own patience is some 40 s; with these it takes a silent node for dead after about 7 s.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--disable-usage-stats", "--num-gpus=0"]
RAY += ["--object-store-memory=100000000"]


def why_not() -> str | None:
    """Why there can be no second node here; None if there can."""
    if shutil.which("ip") is None:
        return "no network namespaces: install Debian's package iproute2"
    if _ip(f"netns add {NAMESPACE}", check=False):
        return "no network namespaces: this needs the right CAP_NET_ADMIN (root)"
    _ip(f"netns del {NAMESPACE}")
    return None


class TwoNodes:
    """Head and far node; `cut` and `heal` the link between."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = tempfile.mkdtemp(prefix="fmrp-r", dir="/tmp")
        self._port = free_port()
        self.address = f"{NEAR}:{self._port}"
        self.environment = {
            **os.environ,
            **environment,
            **HEALTH,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "far" * 16,
            "RAY_USAGE_STATS_ENABLED": "0",
            MARK: self._folder,
        }

    def __enter__(self) -> TwoNodes:
        try:
            self._lay_link()
            head = [f"--port={self._port}", f"--temp-dir={self._folder}", "--include-dashboard=false"]
            self._start(["--head", f"--node-ip-address={NEAR}", "--num-cpus=4", *head])
            far = [f"--address={self.address}", f"--node-ip-address={FAR}", "--num-cpus=4"]
            self._start(far, prefix=["ip", "netns", "exec", NAMESPACE])
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def cut(self) -> None:
        """Nothing gets through any more, in either direction, and nobody is told."""
        _ip(f"link set {NEAR_END} down")

    def heal(self) -> None:
        """The link is back."""
        _ip(f"link set {NEAR_END} up")

    def far_pids(self) -> set[int]:
        """Processes of the far node."""
        listed = subprocess.run(["ip", "netns", "pids", NAMESPACE], capture_output=True, text=True, check=True)
        return {int(pid) for pid in listed.stdout.split()}

    def _start(self, arguments: list[str], prefix: list[str] | None = None) -> None:
        command = [*(prefix or []), *RAY, *arguments]
        started = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert started.returncode == 0, started.stdout + started.stderr

    def _lay_link(self) -> None:
        for command in (
            f"netns add {NAMESPACE}",
            f"link add {NEAR_END} type veth peer name {FAR_END}",
            f"link set {FAR_END} netns {NAMESPACE}",
            f"addr add {NEAR}/30 dev {NEAR_END}",
            f"link set {NEAR_END} up",
            f"-n {NAMESPACE} addr add {FAR}/30 dev {FAR_END}",
            f"-n {NAMESPACE} link set {FAR_END} up",
            f"-n {NAMESPACE} link set lo up",
        ):
            _ip(command)

    def _clear(self) -> None:
        with suppress(subprocess.CalledProcessError):
            for pid in self.far_pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        end_all(family(self._folder))
        for command in (f"netns del {NAMESPACE}", f"link del {NEAR_END}"):
            _ip(command, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)


def _ip(arguments: str, *, check: bool = True) -> int:
    return subprocess.run(["ip", *arguments.split()], capture_output=True, check=check).returncode
