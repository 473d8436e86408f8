"""Every public name teaches itself: its docstring has an example, and the example gives what it says.

What an example finds, as a reader of the documents would: `np`, `sa`, `machine`, an A100 of 40 GB, Q, K, V (64, 32) in float32, and
docs/fidelity.json. The words of an algorithm are tried inside one: there Q, K, V are arrays in HBM, `gpu` is what an algorithm gets,
and a tile finds `sram` in a launch, with the blocks i = 0:16 and j = 16:32, and `table`, the integers 3, 1, 2.
"""

import doctest
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import simattn as sa
from simattn.hierarchy.gpu import Gpu
from simattn.hierarchy.hbm import HbmArray
from simattn.hierarchy.sealed import Sealed
from simattn.hierarchy.sram import Sram
from simattn.hierarchy.tile import Tile

ROOT = Path(__file__).resolve().parent.parent
WORDS = (Gpu, Sram, Tile, HbmArray)  # what an algorithm is written in: methods of what it receives
PLAIN = {"KiB", "algorithms", "gpu", "plots"}  # a number, a dictionary and packages


def members(owner):
    """The public methods and properties of a class that are ours, by name; not NumPy's methods, which `Sealed` refuses."""
    ours = [cls for cls in owner.__mro__ if cls.__module__.startswith("simattn.") and cls is not Sealed]
    named = {name: x for cls in reversed(ours) for name, x in vars(cls).items() if not name.startswith("_")}
    return {name: x for name, x in named.items() if inspect.isroutine(x) or isinstance(x, property | classmethod | staticmethod)}


def public():
    """Name -> object: what `sa` exports, the words of an algorithm, and their methods and properties."""
    found = {name: getattr(sa, name) for name in sa.__all__ if name not in PLAIN} | {word.__name__: word for word in WORDS}
    found |= {f"plots.{name}": getattr(sa.plots, name) for name in sa.plots.__all__}
    for owner in [x for x in found.values() if inspect.isclass(x)]:
        found |= {f"{owner.__name__}.{name}": member for name, member in members(owner).items()}
    return found


PUBLIC = public()


def example(name):
    return inspect.getdoc(PUBLIC[name]) or ""


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring_with_an_example(name):
    """A function, class or method has an example of its own; a property may stand in its class's."""
    told = example(name)
    assert re.match(r"\S.*\.", told), f"{name} has no sentence"
    if isinstance(PUBLIC[name], property) and ">>>" not in told:
        owner, word = name.split(".")
        told = "\n".join(re.findall(rf">>> .*\.{word}\b", example(owner)))
    assert ">>>" in told, f"{name} has no example"


def namespace():
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((64, 32), np.float32) for name in "QKV"}
    return {"np": np, "sa": sa, "machine": sa.machine("a100-40gb"), **arrays}


def tried(name, names):
    """Run the example of a public name; what it printed that it should not have."""
    test = doctest.DocTestParser().get_doctest(example(name), dict(names), name, None, None)
    wrong = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=wrong.append)
    return "".join(wrong)


def inside(name):
    """The same within an algorithm: in a launch, but for the words of `gpu`, which launch."""
    names, wrong = namespace(), []

    def lesson(gpu, Q, K, V, table):
        given = names | {"gpu": gpu, "Q": Q, "K": K, "V": V, "table": table, "i": slice(0, 16), "j": slice(16, 32)}
        if name.startswith("Gpu"):
            wrong.append(tried(name, given))
        done = gpu.empty((1, 1), name="done")
        for sram, _ in gpu.launch("lesson", [0]):
            if not name.startswith("Gpu"):
                wrong.append(tried(name, given | {"sram": sram}))
            sram.store(done, sram.zeros((1, 1)))
        return done

    names["machine"].run(lesson, *(names[x] for x in "QKV"), sa.each([[3, 1, 2]]))
    return "".join(wrong)


@pytest.mark.parametrize("name", [name for name in PUBLIC if ">>>" in example(name)])
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    """Each example runs, in the folder of nobody, and prints what stands below it."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "fidelity.json", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    word = name.split(".")[0] in [word.__name__ for word in WORDS]
    assert not (inside(name) if word else tried(name, namespace()))
