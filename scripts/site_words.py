"""What every word and every operation of an algorithm costs: counted, then written as a formula. For the site's cheat sheet."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import simattn as sa
from simattn.hierarchy.gpu import Gpu
from simattn.hierarchy.operations import ARITHMETIC, BITWISE, COMPARISONS, ELEMENTWISE, LOGICAL, TRANSCENDENTAL
from simattn.hierarchy.sealed import Sealed
from simattn.hierarchy.sram import Sram
from simattn.hierarchy.tile import FUNCTIONS, Tile

COLUMNS = {
    "hbm_read": "HBM read", "hbm_write": "HBM written", "sram_read": "SRAM read", "sram_write": "SRAM written",
    "matmul_flops": "matmul FLOPs", "vector_flops": "vector FLOPs", "exps": "exps", "new": "new in SRAM",
}  # fmt: skip
OPERATORS = {
    "add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y", "floor_divide": "x // y", "remainder": "x % y",
    "power": "x ** 2", "negative": "-x", "positive": "+x", "absolute": "abs(x)", "less": "x < y", "less_equal": "x <= y",
    "greater": "x > y", "greater_equal": "x >= y", "equal": "x == y", "not_equal": "x != y", "bitwise_and": "p & q",
    "bitwise_or": "p | q", "bitwise_xor": "p ^ q", "invert": "~p",
}  # fmt: skip
TYPES = {"float16": (2, 4), "float32": (4, 4), "float64": (8, 8)}  # bytes of a number as it is stored, b, and as sums keep it, a
SHAPES = ((5, 7, 3), (11, 2, 13), (6, 17, 10))  # m, n, k: so unlike that one formula fits
KERNEL = "example"


@dataclass(frozen=True)
class Lengths:
    """Where an example is counted: x and y are (m, n), z is (n, k); b and a are the bytes of a stored and of an accumulated number."""

    m: int
    n: int
    k: int
    b: int
    a: int

    @property
    def terms(self) -> dict[str, int]:
        """What a cost may be made of, by how it is written."""
        m, n, k = self.m, self.n, self.k
        areas = {"mn": m * n, "nk": n * k, "mk": m * k, "mnk": m * n * k, "m": m, "n": n, "": 1}
        scales = {"b": self.b, "a": self.a, "": 1}
        return {"·".join(filter(None, (s, area))) or "1": scales[s] * areas[area] for area, s in product(areas, scales)}


@dataclass(frozen=True)
class Example:
    """A word as it is written, the tiles that it takes, and its use in a thread block."""

    written: str
    needs: str
    use: Callable[..., Any]


def _words() -> dict[str, Example]:
    """The words of a launch, and what a tile has; by their names."""
    return {
        "load": Example("sram.load(X[i])", "", lambda sram, X, **_: sram.load(X[:])),
        "store": Example("sram.store(O[i], x)", "x", lambda sram, x, O, **_: sram.store(O[:], x)),
        "atomic_add": Example("sram.atomic_add(O[i], x)", "x", lambda sram, x, O, **_: sram.atomic_add(O[:], x)),
        "load_int": Example("sram.load_int(table[p])", "", lambda sram, table, **_: sram.load_int(table[0])),
        "zeros": Example("sram.zeros((m, n))", "", lambda sram, size, **_: sram.zeros((size.m, size.n))),
        "full": Example("sram.full((m, n), value)", "", lambda sram, size, **_: sram.full((size.m, size.n), 1.0)),
        "arange": Example("sram.arange(j)", "", lambda sram, size, **_: sram.arange(slice(0, size.n))),
        "random": Example(
            "sram.random(i, j, seed)", "", lambda sram, size, **_: sram.random(slice(0, size.m), slice(0, size.n), 0)
        ),
        "T": Example("x.T", "x", lambda x, **_: x.T),
        "astype": Example('x.astype("bfloat16")', "x", lambda x, **_: x.astype("bfloat16")),
        "slice": Example("x[a:b, c:d]", "x", lambda x, **_: x[1:, 1:]),
        "matmul": Example("x @ z", "xz", lambda x, z, **_: x @ z),
    }


def _functions() -> dict[Any, Example]:
    """NumPy's functions of tiles that are no ufuncs; a method of a tile of the same name is the same."""
    kept: dict[str, Any] = {"axis": 1, "keepdims": True}
    rows = {
        function: Example(f"x.{function.__name__}(axis=1, keepdims=True)", "x", lambda x, f=function, **_: f(x, **kept))
        for function in (np.sum, np.max, np.min, np.mean)
    }
    return rows | {
        np.where: Example("np.where(p, x, y)", "pxy", lambda p, x, y, **_: np.where(p, x, y)),
        np.transpose: Example("np.transpose(x)", "x", lambda x, **_: np.transpose(x)),
        np.clip: Example("np.clip(x, low, high)", "x", lambda x, **_: np.clip(x, 0, 1)),
        np.concatenate: Example("np.concatenate([x, y])", "xy", lambda x, y, **_: np.concatenate([x, y])),
        np.vstack: Example("np.vstack([x, y])", "xy", lambda x, y, **_: np.vstack([x, y])),
        np.hstack: Example("np.hstack([x, y])", "xy", lambda x, y, **_: np.hstack([x, y])),
    }


def _ufunc(function: Any) -> Example:
    """An elementwise function of whole tiles."""
    needs = ("pq" if function in LOGICAL or function in BITWISE else "xy")[: function.nin]
    if function is np.power:
        return Example("x ** 2", "x", lambda x, **_: x**2)
    called = f"np.{function.__name__}({', '.join(needs)})"
    return Example(OPERATORS.get(function.__name__, called), needs, lambda **at: function(*(at[name] for name in needs)))


def public(owner: type) -> set[str]:
    """The public names of a class that are ours; not NumPy's methods, which tiles refuse."""
    ours = [cls for cls in owner.__mro__ if cls.__module__.startswith("simattn.") and cls is not Sealed]
    return {name for cls in ours for name in vars(cls) if not name.startswith("_")}


def sections() -> Iterator[tuple[str, list[Example]]]:
    """The sheet: every word of an SRAM and of a tile, and every operation that is allowed. LookupError for one without an example."""
    words, functions = _words(), _functions()
    known = words.keys() | {"shape", "dtype", "nbytes"} | {function.__name__ for function in functions}
    if missing := (public(Sram) | public(Tile)) - known:
        raise LookupError(f"{sorted(missing)} have no example on the cheat sheet")
    allowed = {function for function in FUNCTIONS if function.__name__ not in {"amax", "amin"}}
    if missing := {function.__name__ for function in allowed ^ functions.keys()}:
        raise LookupError(f"{sorted(missing)} have no example on the cheat sheet, or are not allowed on tiles")
    yield "Words", [words[name] for name in ("load", "store", "atomic_add", "load_int", "zeros", "full", "arange", "random")]
    yield "Views", [words["slice"], words["T"], functions[np.transpose]]
    yield "Products", [words["matmul"]]
    yield "Reductions", [functions[f] for f in (np.sum, np.max, np.min, np.mean)]
    groups = (TRANSCENDENTAL, ARITHMETIC, COMPARISONS, LOGICAL | BITWISE.keys())
    names = ("Exponentials and logarithms", "Arithmetic", "Comparisons", "Logic, on boolean tiles p and q")
    for name, group in zip(names, groups, strict=True):
        yield name, [_ufunc(function) for function in sorted(group, key=lambda f: (f.nin, f.__name__))]
    if missing := {f.__name__ for f in ELEMENTWISE.difference(*groups, {np.where})}:
        raise LookupError(f"{sorted(missing)} are in no section of the cheat sheet")
    yield "Choosing, casting, joining", [
        functions[np.where], functions[np.clip], words["astype"], functions[np.concatenate], functions[np.vstack],
        functions[np.hstack],
    ]  # fmt: skip


def _used(gpu: Any, X: Any, Y: Any, Z: Any, P: Any, Q: Any, *, table: Any, size: Lengths, example: Example | None) -> Any:
    """A thread block that loads what an example takes and uses it; without an example, nothing."""
    O = gpu.empty((size.m, size.n), name="O")
    for sram, _ in gpu.launch("first", [0]):
        sram.store(O[:], sram.zeros((size.m, size.n)))
    for sram, _ in gpu.launch(KERNEL, [0]):
        if example:
            arrays = {"x": X, "y": Y, "z": Z, "p": P, "q": Q}
            tiles = {name: sram.load(arrays[name][:]) for name in example.needs}
            example.use(gpu=gpu, sram=sram, size=size, X=X, O=O, table=table, **tiles)
    return O


def counted(example: Example, size: Lengths, dtype: str) -> dict[str, int]:
    """The counts of one use, without those of the loads before it, and the bytes that it takes beside its operands'."""
    m, n, k = size.m, size.n, size.k
    given = {"x": ((m, n), dtype), "y": ((m, n), dtype), "z": ((n, k), dtype), "p": ((m, n), "bool"), "q": ((m, n), "bool")}
    specs = [sa.spec(*array) for array in given.values()]
    machine = sa.Machine(name="large", sram=1024 * sa.KiB)
    options = {"table": np.array([3, 1, 2], np.int32), "size": size}
    kernel = machine.count(_used, *specs, example=example, **options).kernels[KERNEL]
    held = sum(sa.spec(*given[name]).nbytes for name in example.needs)
    found = {name: getattr(kernel, name) for name in COLUMNS if name != "new"}
    loaded = {"hbm_read": held, "sram_write": held}
    return {name: value - loaded.get(name, 0) for name, value in found.items()} | {"new": kernel.peak_sram - held}


def formula(samples: Iterable[tuple[Lengths, int]]) -> str:
    """The simplest formula that gives each value from its lengths: a multiple of a term, or a sum of two. ValueError if there is none."""
    sizes, values = zip(*samples, strict=True)
    if not any(values):
        return ""
    terms = {name: [size.terms[name] for size in sizes] for name in sizes[0].terms}
    scaled = {
        (c, name): [c * v for v in column] for c in (1, 2, 3, 4) for name, column in terms.items()
    }  # the fewest factors first
    for (c, name), column in scaled.items():
        if column == list(values):
            return _written(c, name)
    for (first, one), (second, two) in product(scaled.items(), repeat=2):
        if [x + y for x, y in zip(one, two, strict=True)] == list(values):
            return f"{_written(*first)} + {_written(*second)}"
    raise ValueError(f"no formula gives {values} at {sizes}")


def _written(factor: int, term: str) -> str:
    if term == "1":
        return str(factor)
    return term if factor == 1 else f"{factor}{term}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def costs(example: Example) -> dict[str, str]:
    """Count -> its formula in m, n, k, b and a."""
    sizes = [(Lengths(*shape, *TYPES[dtype]), dtype) for shape in SHAPES for dtype in TYPES]
    found = [(size, counted(example, size, dtype)) for size, dtype in sizes]
    return {name: formula((size, counts[name]) for size, counts in found) for name in COLUMNS}


def sheet() -> str:
    """The cheat sheet as Markdown: a table a section, a row for those that are written alike and cost the same."""
    parts = []
    for name, examples in sections():
        rows: dict[tuple[str, ...], list[str]] = {}
        for example in examples:
            rows.setdefault((example.needs, *costs(example).values()), []).append(example.written)
        used = [k for k, column in enumerate(COLUMNS, 1) if any(key[k] for key in rows)]
        if not used:
            uses = ", ".join(f"`{text}`" for written in rows.values() for text in written)
            parts.append(f"### {name}\n\n{uses}: these cost nothing, and keep their tile live.")
            continue
        titles = [list(COLUMNS.values())[k - 1] for k in used]
        lines = [_row(["", *titles]), _row(["---"] * (len(used) + 1))]
        for key, written in rows.items():
            uses = ", ".join(f"`{text}`" for text in written).replace("|", r"\|")
            lines.append(_row([uses, *(key[k] for k in used)]))
        parts.append(f"### {name}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def words_of_a_run() -> str:
    """What `gpu` offers, a line a word, from the docstrings."""
    lines = []
    for name in sorted(public(Gpu), key=lambda name: list(vars(Gpu)).index(name)):
        told = (inspect.getdoc(vars(Gpu)[name]) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"* `gpu.{name}`: {told}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(words_of_a_run())
    print(sheet())
