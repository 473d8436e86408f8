"""A table of the article's claims with the papers that each is compared with, from docs/claims.md."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
SECTION = re.compile(r"^## (\d+)\. ([^\n]*)\n\n\*\*(\w+)\.\*\*(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CITED = re.compile(r"arXiv \d{4}\.\d{5}")


def table() -> str:
    """A row a claim: its number, which leads to the section, the claim in our words, the verdict, the papers."""
    rows = ["| | claim | verdict | compared with |", "| --- | --- | --- | --- |"]
    for number, text, verdict, body in SECTION.findall((DOCS / "claims.md").read_text(encoding="utf-8")):
        papers = ", ".join(sorted(set(CITED.findall(body))))
        rows.append(f"| {number} | {text} | {verdict} | {papers} |")
    return "\n".join(rows)


def uncited(page: str, package: Path) -> set[str]:
    """The papers that the package or docs/ cites and a page does not list."""
    texts = [*DOCS.glob("*.md"), *package.rglob("*.py"), *package.rglob("*.md")]
    return {paper for file in texts for paper in CITED.findall(file.read_text(encoding="utf-8"))} - set(CITED.findall(page))
