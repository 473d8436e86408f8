"""The documents say what the code does, and the repository keeps its own rules."""

import ast
import contextlib
import io
import json
import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest

import simattn as sa
from simattn.cli.compare import DEFAULT_ALGORITHMS, GPT2_MEDIUM
from simattn.text.shown import text
from simattn.workbench.inputs import draw

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md", "docs/counting.md"])
def test_the_examples_in_the_documents_print_what_they_say(document, tmp_path):
    """Each Python example runs, and prints the numbers in its closing comment."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        script = tmp_path / "example.py"
        script.write_text(block, encoding="utf-8")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(script))
        assert out.getvalue().strip() == re.findall(r"print\(.*#\s*(.*)", block)[-1].strip()


def test_the_readme_says_what_happens_at_a_larger_block():
    """The README's softmax overflows with Br = 256, as it claims."""
    block = re.search(r"```python\n(.*?)run = ", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)
    names = {}
    exec(block, names)  # noqa: S102 - our own README
    with pytest.raises(sa.SramOverflow, match="softmax"):
        sa.machine("a100-40gb").run(names["softmax"], np.ones((256, 512), np.float32), Br=256)


def test_the_readmes_table_is_the_one_that_is_printed():
    """The counted columns of the table in the README are those of GPT-2 medium's shape; errors and verdicts may differ by the BLAS."""

    def counted(table):
        rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.startswith(DEFAULT_ALGORITHMS)]
        return [[*row[:4], *(cell for cell in row if "KiB" in cell)] for row in rows]

    table = re.search(r"```\n(GPT-2.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)
    comparison = sa.compare(sa.machine("a100-40gb"), DEFAULT_ALGORITHMS, *draw(GPT2_MEDIUM))
    assert counted(table) == counted(text(comparison))
    assert len(counted(table)) == len(DEFAULT_ALGORITHMS)
    flash, naive = comparison["flash2"].run, comparison["naive"].run
    assert (flash.hbm_read + flash.hbm_write) / (naive.hbm_read + naive.hbm_write) == pytest.approx(0.2, abs=0.01)  # «a fifth»


def test_the_chinese_readme_shows_the_same():
    """Both READMEs have the same commands, table and example, comments aside, and the same links but for the pages in Chinese."""
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))

    def blocks(text):
        return [re.sub(r" *# .*", "", block) for block in re.findall(r"```(.*?)```", text, re.DOTALL)]

    def links(text):
        return sorted(link.replace(".zh-CN", "") for link in re.findall(r"\]\(([^)]+)\)", text))

    assert blocks(english) == blocks(chinese)
    assert links(english) == links(chinese)


def test_the_readme_is_short():
    """The README has fewer than 120 lines, and starts with a picture."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 120
    assert any(line.startswith("![") for line in lines[:6])


def test_notebooks_are_committed_without_outputs():
    """No notebook carries an output or an execution count."""
    for notebook in (ROOT / "notebooks").rglob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), notebook.name
            assert cell.get("execution_count") is None, notebook.name


def test_notebooks_import_nothing_below_the_public_names():
    """What a notebook needs of simattn it finds in `sa`, so that a reader learns one name a thing."""
    for notebook in (ROOT / "notebooks").rglob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            found = re.findall(r"^[ \t]*(?:from|import) +simattn\b.*", source, re.MULTILINE) if cell["cell_type"] == "code" else []
            assert set(found) <= {"import simattn as sa"}, f"{notebook.name}: {found}"
            for name in re.findall(r"\bsa\.(\w+)", source):
                assert name in sa.__all__, f"{notebook.name}: sa.{name} is not public"


def test_gpu_means_an_algorithms_first_argument_alone():
    """Documents, notebooks, docstrings and messages call a machine `machine`, and run, count and record with it."""

    def told(file):
        """What a reader reads: of a module, its strings."""
        text = file.read_text(encoding="utf-8")
        if file.suffix != ".py":
            return text
        return "\n".join(
            node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )

    for file in (*ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/**/*.ipynb"), *(ROOT / "simattn").rglob("*.py")):
        assert not re.findall(r"(?<![.\w])gpu(?: = sa\.[mM]achine|\.(?:run|count|record)\b)", told(file)), file.name


def test_links_in_the_documents_lead_somewhere():
    """Every relative link of every Markdown page names a file that exists."""
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.md"), *ROOT.glob("simattn/data/*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(
    ("page", "template"),
    [
        ("claims.md", "claims/page.md"),
        ("claims.zh-CN.md", "claims/page.zh.md"),
        ("reproduced.md", "reproduce/page.md"),
        ("fidelity.md", "fidelity/page.md"),
    ],
)
def test_a_page_has_the_prose_of_its_template(page, template):
    """The page in docs/ contains every line of its template, in order: an edited template makes the committed page out of date."""
    template = (ROOT / "simattn" / "studies" / template).read_text(encoding="utf-8")
    prose = re.escape(template)
    made = re.sub(r"\\\$[a-z_]+", "(?s:.*)", prose)
    assert re.fullmatch(made, (ROOT / "docs" / page).read_text(encoding="utf-8"))


def test_the_version_is_one():
    """The package, CITATION.cff, the newest release in the changelog and the page on installing name the same version."""
    cited = re.search(r"^version: (.*)\ndate-released: \"(.*)\"", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    released = re.search(r"^## \[(\d.*)\] - (.*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited.groups() == released.groups()
    named = set(re.findall(r"simattn-([\d.]+)-py3", (ROOT / "docs" / "install.md").read_text(encoding="utf-8")))
    assert {cited.group(1)} == {sa.__version__} == named


def test_hooks_and_lint_are_of_one_version():
    """What `make lint` runs, a commit hook runs in the same version."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for pinned in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["lint"]:
        name, version = pinned.split("==")
        assert re.search(rf"/[\w-]*{name}[\w-]*\n    rev: v{re.escape(version)}\n", hooks), pinned
