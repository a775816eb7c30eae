"""Write the lock files from what is installed: everything the project's dependencies pull in, exact.

Run by `make lock` after changing pyproject.toml and installing it by hand. A local version label (torch 2.13.0+cpu) is
left out: the same pin finds the CPU build where there is one and the CUDA build elsewhere.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
PLUGINS = (HERE.parent / "plugins").glob("*/pyproject.toml")
OURS = {"forecasting-mrp", *(f"fmrp-{path.parent.name.replace('_', '-')}" for path in PLUGINS)}
# Builds our own editable packages without an isolated download.
BUILD = ("setuptools",)


def closure(wanted: list[str]) -> dict[str, str]:
    """Name -> version of these requirements and all they need here."""
    found: dict[str, str] = {}
    todo = [(Requirement(text), "") for text in wanted]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra_of_parent = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra_of_parent}):
            continue
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                raise SystemExit(f"{name} is required and not installed") from None
            if name not in OURS:
                found[name] = installed.version.partition("+")[0]
            todo += [(Requirement(text), extra) for text in installed.requires or []]
    return found


def main() -> None:
    """Write runtime.txt and development.txt."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    runtime = closure([*project["dependencies"], *BUILD])
    development = closure(project["optional-dependencies"]["dev"])
    note = "# Written by `make lock`; change pyproject.toml instead.\n"
    (HERE / "runtime.txt").write_text(note + "".join(f"{name}=={runtime[name]}\n" for name in sorted(runtime)))
    extra = sorted(set(development) - set(runtime))
    lines = "".join(f"{name}=={development[name]}\n" for name in extra)
    (HERE / "development.txt").write_text(f"{note}-r runtime.txt\n{lines}")


if __name__ == "__main__":
    main()
