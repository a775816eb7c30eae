"""`python -m fmrp_sdk new NAME`: a new connector's project, in this folder, for those who have the sdk alone."""

import sys
from pathlib import Path

from fmrp_sdk.new_project import BadName, new_project


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 2 or arguments[0] != "new":
        sys.stderr.write("usage: python -m fmrp_sdk new NAME\n")
        return 2
    try:
        root = new_project(arguments[1], Path.cwd())
    except BadName as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{root}: see README.md there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
