"""Write the README's table of algorithms from the registry: `make readme`."""

import re
from pathlib import Path

from simattn.kernels import GROUPS, module_of

README = Path(__file__).resolve().parent.parent / "README.md"
TABLE = re.compile(r"(<!-- algorithms: .*? -->\n\n).*?(\n\n<!-- end of algorithms -->)", re.DOTALL)


def table() -> str:
    """A row for each group of algorithms, with a link to each file."""
    rows = (f"| {group} | {', '.join(map(link, names))} |" for group, names in GROUPS.items())
    return "\n".join(["| | |", "| --- | --- |", *rows])


def link(name: str) -> str:
    """An algorithm, linked to its file."""
    return f"[`{name}`](simattn/kernels{module_of(name).replace('.', '/')}.py)"


def written(text: str) -> str:
    """A README with its table written anew."""
    return TABLE.sub(lambda found: found[1] + table() + found[2], text)


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
