"""A new connector's project: small, installable, and with passing tests from the first minute."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


class BadName(ValueError):
    """A name no connector may have, or a folder that is taken."""


def new_project(name: str, parent: Path) -> Path:
    """Write the project of a connector `name` into a new folder below `parent`; returns that folder.

    Raises:
        BadName: the name is not lower-case letters, digits and underscores, or the folder is there already.
    """
    if not _NAME.fullmatch(name):
        raise BadName(f"{name!r}: expected lower-case letters, digits and underscores, beginning with a letter")
    dashed = name.replace("_", "-")
    root = parent / f"fmrp-{dashed}"
    if root.exists():
        raise BadName(f"{root} is there already")
    words = {"name": name, "dashed": dashed, "camel": "".join(part.capitalize() for part in name.split("_"))}
    written = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"src/fmrp_{name}/__init__.py": "init.py.txt",
        f"src/fmrp_{name}/config.py": "config.py.txt",
        f"src/fmrp_{name}/connector.py": "connector.py.txt",
        f"tests/{name}_source.py": "source.py.txt",
        f"tests/test_{name}.py": "test.py.txt",
    }
    for path, template in written.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (files("fmrp_sdk") / "project" / template).read_text(encoding="utf-8")
        target.write_text(Template(text).substitute(words), encoding="utf-8")
    (root / "src" / f"fmrp_{name}" / "py.typed").touch()
    return root
