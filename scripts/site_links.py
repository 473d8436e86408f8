"""What is wrong with the links of a built site: each must lead to a page and a place that exist, and nothing is loaded from elsewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src", "audio": "src"}


class Page(HTMLParser):
    """The places of a page, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names, links to or loads."""
        given = {name: value for name, value in attrs if value is not None}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])


def problems(site: Path) -> list[str]:
    """A line for each link that leads nowhere, and for each file that a page would load from another host.

    Pages of source text need only lead to a page: Sphinx's links back name all functions of a file by one module, so some miss the place.
    """
    parsed = {page: Page(page.read_text(encoding="utf-8")) for page in sorted(site.rglob("*.html"))}
    found = []
    for page, content in parsed.items():
        name = page.relative_to(site)
        found += [f"{name} loads {url}" for url in content.loaded if urlsplit(url).netloc]
        for url in {*content.links, *content.loaded}:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                found.append(f"{name} links to {url}, which does not exist")
            elif (
                name.parts[0] != "_modules"
                and parts.fragment
                and target in parsed
                and unquote(parts.fragment) not in parsed[target].places
            ):
                found.append(f"{name} links to {url}, but {target.name} has no such place")
    return found
