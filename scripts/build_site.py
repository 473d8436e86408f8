"""Build the site in build/site/html: `make docs`. Pages are laid together, executed and written by Sphinx, and every link is checked."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from site_api import pages
from site_claims import table, uncited
from site_links import problems
from site_words import sheet, words_of_a_run

from simattn.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "site"
PAGES, HTML = BUILD / "pages", BUILD / "html"
EXPLORER = """```{raw} html
<iframe class="explorer" src="explorer.html" title="naive and flash2, step by step"></iframe>
<p><a href="explorer.html">The explorer on a page of its own</a></p>
```"""


def lay() -> None:
    """The pages of the site, and what they link to, in the order of the repository: so links lead where they do there."""
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "site", PAGES, ignore=shutil.ignore_patterns("__pycache__"))
    skip = shutil.ignore_patterns("site", "__pycache__", ".ipynb_checkpoints")
    for folder in ("docs", "notebooks", "simattn"):
        shutil.copytree(ROOT / folder, PAGES / folder, ignore=skip)
    for page in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"):
        shutil.copy2(ROOT / page, PAGES / page)
    solved = (PAGES / "notebooks" / "solutions").is_dir()
    if solved:
        write("notebooks/solutions/index.md", "# Solutions\n\n```{toctree}\n:glob:\n\n[0-9]*\n```\n")
    course = PAGES / "notebooks" / "README.md"  # a folder has no page of its own
    course.write_text(course.read_text(encoding="utf-8").replace("](solutions)", "](solutions/index.md)"), encoding="utf-8")
    for name, text in pages().items():
        write(f"api/{name}", text)
    fill("kernels.md", words=words_of_a_run(), sheet=sheet())
    fill("sources.md", claims=table())
    if missing := uncited((PAGES / "sources.md").read_text(encoding="utf-8"), ROOT / "simattn"):
        raise LookupError(f"docs/site/sources.md does not list {sorted(missing)}")
    fill("index.md", explorer=explorer(), solutions="notebooks/solutions/index" if solved else "")


def write(name: str, text: str) -> None:
    """A page that is made, not written."""
    page = PAGES / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def fill(name: str, **parts: str) -> None:
    """Put each part where the page has a comment with its name. LookupError where it has none."""
    text = (PAGES / name).read_text(encoding="utf-8")
    for part, value in parts.items():
        mark = f"<!-- {part} -->"
        if mark not in text:
            raise LookupError(f"{name} has no {mark}")
        text = text.replace(mark, value)
    write(name, text)


def explorer() -> str:
    """The explorer of the front page, made by `simattn explore`."""
    if "explore" not in {command.name for command in app.registered_commands}:
        return ""
    file = PAGES / "extra" / "explorer.html"
    file.parent.mkdir()
    subprocess.run([sys.executable, "-m", "simattn", "explore", "--algorithms", "naive,flash2", "--output", str(file)], check=True)
    return EXPLORER


def main() -> int:
    """Build; 1 if Sphinx warns or a link leads nowhere."""
    start = time.monotonic()
    lay()
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2", "-d", str(BUILD / "doctrees")]
    if (made := subprocess.run([*sphinx, str(PAGES), str(HTML)], check=False).returncode) != 0:
        return made
    found = problems(HTML)
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{HTML.relative_to(ROOT)}/index.html: {len(list(HTML.rglob('*.html')))} pages in {time.monotonic() - start:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
