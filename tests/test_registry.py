"""One registry: an algorithm is its file, its closed form and a line, and all else follows; public names load when they are first used."""

import ast
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from unittest.mock import patch

import numpy as np
import pytest

import simattn as sa
from simattn import kernels
from simattn.kernels import kinds
from simattn.reference.forms import FORMS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(sa.__file__).parent
PARTS = ("simattn", "tests", "scripts", "README.md", "pyproject.toml")
MADE = ignore_patterns("__pycache__", ".*")

FORM = '''"""Closed form of an algorithm that a test adds."""

from ..symbols import Symbols
from .flash import flash_kernel
from .lines import Kernels, form, over


@form()
def added(y: Symbols) -> Kernels:
    return {"added": over(y.lanes, flash_kernel(y, y.sums(), y.s))}, 0
'''


def python(*arguments, folder=None):
    """What a fresh Python prints, with the package that is tested here, or with that of a folder."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    if folder:
        environment["PYTHONPATH"] = str(folder)
        environment.pop("SIMATTN_INSTALLED", None)  # it asks for the package that pip installed
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder):
    """The contents of the parts that were copied, by name."""
    found = [file for part in PARTS for file in ([folder / part] if (folder / part).is_file() else (folder / part).rglob("*"))]
    kept = (file for file in found if file.is_file() and "__pycache__" not in file.parts)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in kept}


def readme():
    """The script that writes the README's table."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the tree in which an exact algorithm was added, as CONTRIBUTING says: FlashAttention-2 under another name."""
    copy = tmp_path_factory.mktemp("scratch")
    for part in PARTS:
        if (ROOT / part).is_dir():
            copytree(ROOT / part, copy / part, ignore=MADE)
        else:
            (copy / part).write_bytes((ROOT / part).read_bytes())
    own = copy / "simattn" / "kernels"
    source = (own / "flash2.py").read_text(encoding="utf-8")
    (own / "added.py").write_text(source.replace("flash2", "added"), encoding="utf-8")
    (copy / "simattn" / "reference" / "forms" / "added.py").write_text(FORM, encoding="utf-8")
    registry = own / "registry.py"
    lines = registry.read_text(encoding="utf-8")
    registry.write_text(lines.replace("flash2: Forward\n", "flash2: Forward\nadded: Forward\n"), encoding="utf-8")
    return copy


def test_an_algorithm_is_three_files(scratch):
    """Of all files of the package, the tests and the scripts, the copy differs in the kernel, the closed form and the registry, by one line."""
    before, after = files(ROOT), files(scratch)
    differ = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    registry = "simattn/kernels/registry.py"
    assert differ == {"simattn/kernels/added.py", "simattn/reference/forms/added.py", registry}
    assert len(after[registry].splitlines()) - len(before[registry].splitlines()) == 1


def test_an_added_algorithm_has_a_public_name_a_run_and_a_form(scratch):
    """`sa.added` is there, is listed, runs and counts what its closed form says, and refuses an option that algorithms do not share."""
    script = """
import numpy as np, simattn as sa
X = np.ones((64, 8), np.float16)
machine = sa.machine("t4")
run = machine.run(sa.added, X, X, X, causal=True, Br=16, Bc=16)
form = sa.closed_form("added", sa.Problem(n_q=64, n_k=64, d=8, causal=True), Br=16, Bc=16, sram=machine.sram)
assert run.kernels == form.kernels
assert sa.attention(X, X, X, algorithm="added").algorithm == "added"
assert "added" in sa.__all__ and "added" in dir(sa) and sa.algorithms["added"] is sa.added
try:
    machine.run(sa.added, X, X, X, casual=True)
except TypeError as error:
    print(error)
print(list(sa.algorithms).index("added") - list(sa.algorithms).index("flash2"))
"""
    assert python("-c", script, folder=scratch).splitlines() == ["added: unknown option 'casual': did you mean 'causal'", "1"]


def test_an_added_algorithm_is_in_the_command_line_and_its_help(scratch):
    """`simattn compare` runs it, finds it exact, and lists it among the exact ones."""
    row = json.loads(python("-m", "simattn", "compare", "--algorithms", "added", "--n", "64", "--json", folder=scratch))
    (result,) = row["comparisons"][0]["results"]
    assert (result["algorithm"], result["verdict"], result["kernels"][0]["name"]) == ("added", "exact", "added")
    said = " ".join(python("-m", "simattn", "compare", "--help", folder=scratch).split())
    assert "flash1, flash2, added, split_kv" in said


def test_the_property_tests_take_up_an_added_algorithm(scratch):
    """Run equals closed form, at any shape and option and at a real model's, in tests that were not touched; and others have it, too."""
    said = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_counts.py", "-k", "added", folder=scratch)
    assert "2 passed" in said
    collected = python(
        "-m", "pytest", "-q", "--collect-only", "-k", "added", "tests/test_options.py", "tests/test_recording.py", folder=scratch
    )
    assert "test_every_algorithm_is_exact_under_every_option[added]" in collected
    assert "test_a_recording_runs_as_its_algorithm[added]" in collected


def test_the_readme_follows(scratch):
    """`make readme` puts an added algorithm into the table, linked to its file; the tables of both READMEs here are current."""
    python("scripts/readme.py", folder=scratch)
    assert "[`added`](simattn/kernels/added.py)" in (scratch / "README.md").read_text(encoding="utf-8")
    (scratch / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    module, text = readme(), (ROOT / "README.md").read_text(encoding="utf-8")
    assert module.table() in text, "the README's table of algorithms is not that of the registry: make readme"
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    assert module.table(module.CHINESE) in chinese, "the table of README.zh-CN.md is not that of the registry: make readme"
    assert module.CHINESE.keys() == kernels.GROUPS.keys()
    assert all(f"({part}" in text for name in sa.algorithms for part in [module.link(name).partition("(")[2]])


@pytest.mark.parametrize("name", sa.algorithms)
def test_each_line_of_the_registry_names_a_file_a_function_and_a_form(name):
    """The function has its line's name, lies in the file of that name, says its options, and has a closed form."""
    f = sa.algorithms[name]
    folder = kinds.FOLDER.get(kernels.KINDS[name], "").replace(".", "/")
    assert (f.__name__, f.__module__) == (name, f"simattn.kernels{folder.replace('/', '.')}.{name}")
    assert Path(f.__code__.co_filename) == PACKAGE / f"kernels{folder}" / f"{name}.py"
    assert f is getattr(sa, name)
    assert "causal" in f.options
    assert name in FORMS


def test_no_form_is_without_an_algorithm():
    """The closed forms are those of the registry, in whatever file they stand, and every algorithm has a group."""
    assert set(FORMS) == set(sa.algorithms)
    assert [name for names in kernels.GROUPS.values() for name in names if name not in sa.algorithms] == []
    assert sum(map(len, kernels.GROUPS.values())) == len(sa.algorithms)


def test_algorithms_are_a_mapping_in_which_another_function_may_stand():
    """Names, functions and length as of any mapping; another name is no key; what `patch.dict` puts in a place is gone afterwards."""
    assert len(sa.algorithms) == len(list(sa.algorithms)) == len(dict(sa.algorithms))
    assert "flash2" in sa.algorithms
    assert sa.algorithms.get("flash3") is None
    with patch.dict(sa.algorithms, flash2=sa.naive, mine=sa.flash1):
        assert sa.algorithms["flash2"] is sa.naive
        assert sa.algorithms["mine"] is sa.flash1
    assert sa.algorithms["flash2"] is sa.flash2
    assert "mine" not in sa.algorithms
    with pytest.raises(KeyError):
        sa.algorithms["flash3"]


def test_importing_waits_for_nothing_that_a_program_may_not_need():
    """After the import no library is there that only some programs use, and no algorithm; one algorithm brings its own file only."""
    script = """
import sys, simattn as sa
heavy = ("numpy", "matplotlib", "rich", "typer", "ml_dtypes", "safetensors", "torch", "threadpoolctl")
print([name for name in heavy if name in sys.modules], "flash2" in sa.algorithms, len(dir(sa)) > len(sa.algorithms))
print(sorted(name for name in sys.modules if name.startswith("simattn.")))
sa.flash2
print("simattn.kernels.flash2" in sys.modules, "simattn.kernels.naive" in sys.modules, "rich" in sys.modules)
"""
    heavy, own, after = python("-c", script).splitlines()
    assert heavy == "[] True True"
    assert own == str(["simattn.interrupt", "simattn.kernels", "simattn.kernels.kinds", "simattn.kernels.registry"])
    assert after == "True False False"


def test_every_public_name_is_there_and_listed():
    """Each name of `__all__` can be had, in a fresh process too, by attribute, by `from` and by `*`; `dir` has them all."""
    assert set(sa.__all__) <= set(dir(sa))
    assert all(hasattr(sa, name) for name in sa.__all__)
    script = (
        "from simattn import *; import simattn; print(all(globals()[name] is getattr(simattn, name) for name in simattn.__all__))"
    )
    assert python("-c", script).strip() == "True"


@pytest.mark.parametrize(
    ("wrong", "near"), [("flahs2", "flash2"), ("machnie", "machine"), ("Compare", "compare"), ("closedform", "closed_form")]
)
def test_a_wrong_name_is_an_attribute_error_with_the_nearest(wrong, near):
    """It says the nearest public name, once, and `hasattr` is False."""
    with pytest.raises(AttributeError, match=f"^module 'simattn' has no attribute '{wrong}': did you mean '{near}'$"):
        getattr(sa, wrong)
    assert not hasattr(sa, wrong)
    script = f"import simattn, traceback\ntry: simattn.{wrong}\nexcept AttributeError: traceback.print_exc(file=__import__('sys').stdout)"
    assert python("-c", script).lower().count("did you mean") == 1


def test_no_submodule_takes_the_place_of_a_public_name():
    """Python binds a submodule to the package when it is imported: none has the name of something else, with all of them loaded."""
    rooms = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert rooms & set(sa.__all__) == {"gpu", "plots"}
    script = """
import importlib, pkgutil, simattn as sa
for module in pkgutil.walk_packages(sa.__path__, "simattn."):
    if not module.name.startswith(("simattn.gpu.twins.", "simattn.__main__")):
        importlib.import_module(module.name)
print([name for name in sa.__all__ if type(getattr(sa, name)).__name__ == "module"], sa.flash2.__name__, sa.compare.__name__)
"""
    assert python("-c", script).strip() == "['gpu', 'plots'] flash2 compare"


def test_type_checkers_read_the_names_that_are_loaded():
    """The two lists of public names in the package, for type checkers and for loading, have the same names from the same modules."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (choice,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = {
        f".{node.module or alias.name}": sorted(other.name for other in node.names)
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports.pop(".kernels.registry") == ["*"]
    assert imports == {module: sorted(names) for module, names in sa._MODULES.items()}


def test_the_shipped_tensors_are_public():
    """`sa.tensors()` is Q, K and V of one layer, and every call gives arrays of its own."""
    first, second = sa.tensors(), sa.tensors()
    assert [(x.shape, x.dtype) for x in first] == [((1, 12, 512, 32), np.float16)] * 3
    first[0][:] = 0
    assert second[0].any()
    assert sa.attention(*(x[:, :1, :64] for x in second), causal=True).output.shape == (1, 1, 64, 32)
