"""Results as rows of plain data: dictionaries for a table library, and CSV for a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, overload

from .files import replacing


class Exported:
    """A result that is rows. `_records` gives them, with whatever is nested in them."""

    def _records(self) -> Iterable[Mapping[str, Any]]:
        raise NotImplementedError

    def to_dicts(self) -> list[dict[str, Any]]:
        """A flat dictionary a row, all with the same keys: numbers are Python's, and what a row does not have is None.

        >>> [row["hbm_read_bytes"] for row in sa.compare(machine, ["naive", "flash2"], Q, K, V).to_dicts()]
        [57344, 24576]
        """
        rows = [flat(record) for record in self._records()]
        names = dict.fromkeys(name for row in rows for name in row)
        return [{name: row.get(name) for name in names} for row in rows]

    @overload
    def to_csv(self) -> str: ...
    @overload
    def to_csv(self, path: None) -> str: ...
    @overload
    def to_csv(self, path: str | Path) -> None: ...
    def to_csv(self, path: Any = None) -> str | None:
        """The rows of `to_dicts` as CSV under a line of names: the text or, where a path is given, a file that is written whole or not at all.

        >>> sa.compare(machine, ["naive", "flash2"], Q, K, V).to_csv("rows.csv")
        >>> sa.compare(machine, ["naive", "flash2"], Q, K, V).to_csv().split(",")[:2]
        ['algorithm', 'exact']
        """
        text = _csv(self.to_dicts())
        if path is None:
            return text
        if not isinstance(path, str | Path) or not str(path):
            raise TypeError(f"path={path!r}: give the name of a file, as 'rows.csv', or nothing for the text")
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", newline="")
        return None


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row without anything nested: a dictionary's entries are named after it, a list of plain values is one text, one of rows is left out.

    >>> from simattn.text.exported import flat
    >>> flat({"blocks": {"Br": 16}, "launched": ["a", "b"], "kernels": [{"name": "a"}]})
    {'blocks_Br': 16, 'launched': 'a; b'}
    """
    row: dict[str, Any] = {}
    for name, x in record.items():
        if isinstance(x, Mapping):
            row |= {f"{name}_{inner}": y for inner, y in flat(x).items()}
        elif not isinstance(x, list | tuple):
            row[name] = x.item() if hasattr(x, "item") else x
        elif not any(isinstance(y, Mapping) for y in x):
            row[name] = "; ".join(map(str, x))
    return row


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()
