"""What pip installs: the wheel holds the package and nothing else, and pip alone is enough."""

import os
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path, PurePosixPath

import pytest
from conftest import CHECKOUT, FROM_CHECKOUT, files

import simattn as sa

installed = pytest.mark.skipif(FROM_CHECKOUT, reason="simattn is imported from the checkout; `make test` installs the wheel")
SCRIPTS, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")


@installed
def test_the_wheel_holds_the_package_and_nothing_else():
    """Every file of simattn/, data and py.typed included, and beside it only licences and what pip wants to know."""
    found = [PurePosixPath(file.as_posix()) for file in distribution("simattn").files]
    inside = {str(path.relative_to("simattn")) for path in found if path.parts[0] == "simattn" and path.suffix != ".pyc"}
    assert inside == set(files(CHECKOUT))
    assert {path.split("/")[-1] for path in inside if not path.endswith(".py")} == {
        "LICENSE-all-MiniLM-L6-v2", "README.md", "catalogue.toml", "declaration.txt", "draw.js", "h100.md", "minilm_declaration.safetensors",
        "model.js", "page.html", "page.md", "page.zh.md", "player.js", "py.typed", "style.css", "tours.toml", "view.js", "zh.toml",
    }  # fmt: skip
    beside = {path for path in found if path.parts[0] not in ("simattn", "..")}
    assert {path.parts[0] for path in beside} == {f"simattn-{sa.__version__}.dist-info"}
    assert {path.name for path in beside if "licenses" in path.parts} == {"LICENSE", "LICENSE-all-MiniLM-L6-v2"}


@installed
def test_the_version_is_that_of_the_wheel():
    """pip and the package name the same version."""
    assert version("simattn") == sa.__version__


@pytest.mark.slow
def test_pip_alone_installs_it(tmp_path):
    """In a new environment that has pip and nothing else, outside the checkout: the wheel installs, imports, and compares."""
    env = {name: x for name, x in os.environ.items() if name not in ("PYTHONPATH", "COLUMNS")}
    python = tmp_path / "venv" / SCRIPTS / f"python{EXE}"

    def run(*command):
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, CHECKOUT.parent)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    (wheel,) = tmp_path.glob("*.whl")
    run(python, "-m", "pip", "install", wheel)
    run(python, "-m", "pip", "check")
    assert Path(run(python, "-c", "import simattn; print(simattn.__file__)").strip()).is_relative_to(tmp_path / "venv")
    compared = run(python.with_name(f"simattn{EXE}"), "compare", "--n", "64")
    assert all(name in compared for name in ("naive", "flash2", "exact"))
