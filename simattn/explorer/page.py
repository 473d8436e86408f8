"""One self-contained page: the style, the scripts and the data in one HTML file, which loads nothing from anywhere."""

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

SCRIPTS = ("model.js", "draw.js", "view.js", "player.js")


def page(title: str, data: Mapping[str, Any], version: str) -> str:
    """The HTML. The data are text to the browser: no name in them can become markup."""
    folder = files(__package__).joinpath("page")

    def read(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    plain = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    parts = {
        "title": html.escape(title), "version": html.escape(version), "style": read("style.css"),
        "script": "\n".join(map(read, SCRIPTS)), "data": plain,
    }  # fmt: skip
    pieces = read("page.html").split("@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
