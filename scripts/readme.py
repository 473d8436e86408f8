"""Write the table of algorithms in both READMEs from the registry: `make readme`."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from simattn.kernels import GROUPS, module_of

ROOT = Path(__file__).resolve().parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
CHINESE = {
    "exact": "精确",
    "decoding": "解码",
    "of other inputs": "其他输入",
    "approximate": "近似",
    "backward": "反向",
    "basics": "基础",
}
TABLE = re.compile(r"(<!-- algorithms: .*? -->\n\n).*?(\n\n<!-- end of algorithms -->)", re.DOTALL)


def table(groups: Mapping[str, str] = MappingProxyType({})) -> str:
    """A row for each group of algorithms, with a link to each file. groups: other names for the groups."""
    rows = (f"| {groups.get(group, group)} | {', '.join(map(link, names))} |" for group, names in GROUPS.items())
    return "\n".join(["| | |", "| --- | --- |", *rows])


def link(name: str) -> str:
    """An algorithm, linked to its file."""
    return f"[`{name}`](simattn/kernels{module_of(name).replace('.', '/')}.py)"


def written(text: str, groups: Mapping[str, str] = MappingProxyType({})) -> str:
    """A README with a new table."""
    return TABLE.sub(lambda found: found[1] + table(groups) + found[2], text)


if __name__ == "__main__":
    for readme in filter(Path.exists, READMES):
        groups = CHINESE if "zh" in readme.name else {}
        readme.write_text(written(readme.read_text(encoding="utf-8"), groups), encoding="utf-8")
