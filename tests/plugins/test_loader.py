"""Loading by entry point, with small real distributions: a broken one is switched off and stops no other."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmrp_sdk import LoadReport, load_connectors

GROUP = "fmrp_under_test"

GOOD = """
    from pydantic import BaseModel
    from fmrp_sdk import CheckResult, hookimpl

    class {cls}:
        api_version = {api}
        name = "{name}"
        version = "1.2.3"
        config_model = BaseModel
        def check(self, config): return CheckResult(True, "fine")
        def discover(self, config): return []
        def read(self, config, state): return iter(())

    @hookimpl
    def {hook}({argument}):
        register({cls})
"""


def good(
    name: str = "fine", api: object = 1, hook: str = "fmrp_register_connectors", argument: str = "register"
) -> str:
    return GOOD.format(cls="C" + name.title().replace("_", ""), name=name, api=api, hook=hook, argument=argument)


class Site:
    """A folder on sys.path into which distributions are installed as pip would leave them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: list[str] = []

    def install(self, module: str, source: str) -> None:
        (self.root / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.root / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{module} = {module}\n")
        self.modules.append(module)

    def load(self) -> LoadReport:
        return load_connectors(GROUP)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Site(tmp_path)
    made.install("plug_fine", good())
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no such library')", "import of 'plug_bad' failed: RuntimeError: no such library"),
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        (good("bad", hook="fmrp_register_connector"), "fmrp_register_connector"),
        (good("bad", argument="registrar"), "registrar"),
        ("from fmrp_sdk import hookimpl", "registers no connector"),
        (good("bad").replace("@hookimpl", ""), "registers no connector"),
        (good("bad").replace("register(CBad)", "1 / 0"), "ZeroDivisionError"),
        (good("bad", api=2), "API version 2"),
        (good("bad", api=None), "API version None"),
        (good("bad", api=True), "API version True"),
        (good("Bad Name"), "must be lower-case"),
        (good("bad").replace("config_model = BaseModel", "config_model = dict"), "pydantic model"),
        (good("bad").replace("def read", "def raed"), r"lacks read\(\)"),
        (good("bad").replace('version = "1.2.3"', "version = ''"), "no version"),
        (good("bad").replace("register(CBad)", "register(CBad())"), "expected a connector class"),
    ],
)
def test_broken_plugin_is_switched_off_with_its_reason(site: Site, source: str, reason: str) -> None:
    site.install("plug_bad", source.replace("CBad Name", "CBad"))
    report = site.load()
    assert list(report.connectors) == ["fine"]
    (failure,) = report.failures
    assert failure.distribution == "plug_bad"
    assert failure.entry_point == "plug_bad"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(failure.reason)


def test_second_of_a_name_is_switched_off(site: Site) -> None:
    site.install("plug_later", good("fine"))
    report = site.load()
    assert report.connectors["fine"].distribution == "plug_fine"
    (failure,) = report.failures
    assert failure.connector == "fine"
    assert failure.reason == "the name 'fine' is already taken by plug_fine (plug_fine)"


def test_one_bad_connector_of_a_plugin_leaves_its_others(site: Site) -> None:
    two = good("bad", api=9) + good("second").replace("register(CSecond)", "register(CSecond); register(CBad)")
    site.install("plug_two", textwrap.dedent(two))
    report = site.load()
    assert set(report.connectors) == {"fine", "second"}
    assert [failure.connector for failure in report.failures] == ["bad"]


def test_installed_folder_connector_is_found_by_its_entry_point() -> None:
    report = load_connectors()
    folder = report.connectors["folder"]
    assert (folder.distribution, folder.version) == ("fmrp-folder", "0.1.0")
    assert folder.connector().check(folder.connector.config_model(path=Path("/"))).ok
    with pytest.raises(TypeError):
        report.connectors["folder"] = folder  # type: ignore[index]


def test_unknown_group_is_an_empty_report() -> None:
    assert load_connectors("fmrp_nobody") == LoadReport({}, ())
