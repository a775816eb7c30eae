"""A connector from outside: made by the template, installed into an environment of its own, found, run on schedule."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from own_stack import start_up

from cluster.local.redis import free_port

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        os.environ.get("FMRP_FAULTS") != "full", reason="waits for a schedule's minute: `make test-faults`"
    ),
]
NAME = "machine_shop"
ROOT = Path(__file__).resolve().parents[2]
MAPPING = {
    "name": "shop_items",
    "target": "items",
    "columns": {"code": {"names": ["item"]}, "name": {"constant": "Part"}, "kind": {"constant": "finished"}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The connector's project, as `fmrp connector new` makes it."""
    folder = tmp_path_factory.mktemp("projects")
    made = subprocess.run(
        [sys.executable, "-m", "fmrp", "connector", "new", NAME, "--folder", str(folder)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "fmrp-machine-shop"


@pytest.fixture(scope="module")
def python(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A temporary environment: this one's packages, and the connector installed beside them."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    here = sysconfig.get_path("purelib")
    # addsitedir reads that folder's own .pth files too, by which editable packages are found.
    (site / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    inner = str(folder / "bin" / "python")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", inner, "install", "--no-deps", "--no-build-isolation", str(project)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    return inner


def test_the_new_project_passes_its_own_tests(project: Path, python: str) -> None:
    ran = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)],
        capture_output=True, text=True, check=False, cwd=project,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:]


def source_module(project: Path) -> ModuleType:
    """The real source of the project's tests: a server with seven records."""
    spec = importlib.util.spec_from_file_location("machine_shop_source", project / "tests" / f"{NAME}_source.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(project / "src"))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(project / "src"))
    return module


async def test_it_is_found_configured_by_api_run_on_schedule_and_its_rows_arrive(
    project: Path, python: str, tmp_path: Path
) -> None:
    module = source_module(project)
    source = module.MachineShopSource(tmp_path)
    ports = (free_port(), free_port())
    started, said = await asyncio.to_thread(start_up, tmp_path / "data", ports, python)
    try:
        password = re.search(r"Password\s+(\S+)", said)
        assert password is not None
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}/api/v1", timeout=20) as client:
            entered = await client.post(
                "/auth/login", json={"email": "admin@example.com", "password": password.group(1)}
            )
            client.headers["Authorization"] = f"Bearer {entered.json()['access_token']}"
            await run_on_schedule(client, source)
    finally:
        started.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(started.wait, 60) == 0
        source.close()


async def run_on_schedule(client: httpx.AsyncClient, source: Any) -> None:
    found = (await client.get("/sources/connectors")).json()
    (connector,) = [each for each in found["items"] if each["name"] == NAME]
    assert (connector["problem"], connector["secret_fields"]) == (None, ["token"])
    saved = await client.post("/mappings", json=MAPPING)
    assert saved.status_code == 201, saved.text
    config = source.config()
    body = {
        "code": "shop", "name": "Shop", "connector": NAME,
        "config": {"url": config.url, "token": config.token.get_secret_value(), "page_size": 3},
        "rules": [{"pattern": "records", "mapping": "shop_items"}],
    }  # fmt: skip
    created = await client.post("/sources", json=body)
    assert created.status_code == 201, created.text
    assert created.json()["config"]["token"] == "(set)"
    assert (await client.post("/sources/shop/check", json={})).json()["ok"]
    schedule = {"name": "shop", "kind": "ingest", "cron": "* * * * *", "parameters": {"source": "shop"}}
    made = await client.post("/schedules", json=schedule)
    assert made.status_code == 201, made.text
    async with asyncio.timeout(130):
        while not (runs := (await client.get("/sources/shop/runs")).json()["items"]):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    assert [(run["state"], run["read"], run["taken"]) for run in runs] == [("done", 7, 7)]
    codes = [item["code"] for item in (await client.get("/items")).json()["items"]]
    assert codes == [f"A{number}" for number in range(1, 8)]
