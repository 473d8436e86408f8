"""Print the oldest dependencies that pyproject.toml allows, as constraints for pip. `make test-oldest` runs the tests with them."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def oldest(requirement: str) -> str:
    """`numpy==2.0` of `numpy>=2.0`; ValueError where a requirement has no such bound."""
    bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
    if bound is None:
        raise ValueError(f"{PROJECT.name}: {requirement!r} says no oldest version; write it as name>=version")
    return f"{bound[1]}=={bound[2]}"


if __name__ == "__main__":
    for requirement in tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]:
        print(oldest(requirement))
