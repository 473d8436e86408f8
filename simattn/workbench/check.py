"""Is a function right? On hidden inputs, element by element, with the bytes and the working set of a reference."""

import ast
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..hierarchy.call import BLOCK_OPTIONS
from ..hierarchy.checks import shown, whole
from ..hierarchy.counts import Traffic
from ..hierarchy.dtypes import STORAGE
from ..hierarchy.errors import SramOverflow, unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import BACKWARD, FORWARD, algorithms
from .cases import UNLIMITED
from .checked import Check, Tried
from .defaults import ELSEWHERE
from .hidden import Hidden, hidden, like
from .inputs import checked_machine
from .listed import plain
from .misconceptions import named_fault
from .right import wrong

MORE_BYTES, MORE_SRAM = 1.02, 1.5  # times the reference's: a column of row sums more is no fault, and neither is another style
NO_INPUTS = ("paged", "mla", "flash3_fp8")


def check(
    function: Any,
    reference: str | Callable[..., Any],
    machine: Machine | str | None = None,
    *,
    shapes: Any = None,
    dtypes: Sequence[str] = ("float32", "float16"),
    seed: int = 0,
    **options: Any,
) -> Check:
    """Hold a function of yours against a reference, and say what is wrong and where. It does not raise for what your function does.

    reference: the name of an algorithm of `sa.algorithms`, as "flash2", "flash2_backward" or "tiled_matmul"; or a NumPy function, with
    the shapes of its arrays. Your function takes the arrays of that reference, and Br, Bc or Bk if it names them. Inputs are drawn by
    seed: even and ragged sizes, several heads, each of dtypes, and one long input of which the bytes are counted. options: what both
    sides get, as causal=True. Right means within rounding, as large as the reference's own. Traffic may be 1.02 times the reference's,
    the working set 1.5 times. machine: an A100 of 40 GB unless given.

    >>> sa.check(sa.flash1, "flash2").passed
    False
    >>> def double(gpu, X, *, Br):
    ...     Y = gpu.empty(X.shape, name="Y")
    ...     for sram, i in gpu.launch("double", sa.blocks(X.shape[0], Br)):
    ...         sram.store(Y[i], sram.load(X[i]) * 2)
    ...     return Y
    >>> sa.check(double, lambda X: 2 * X, shapes=((64, 32),))
    ✓ double: passed
    As the NumPy function on 3 hidden inputs: right in each element.
    """
    machine = checked_machine("a100-40gb" if machine is None else machine)
    dtypes = _types(dtypes)
    whole("seed", seed, 0)
    name = getattr(plain(function), "__name__", "") if callable(function) else shown(function)
    told = _told(reference, shapes)
    if not callable(function):
        return Check(False, "this is no function: give f(gpu, Q, K, V, *, Br, Bc)", name, told)
    unfinished = _unfinished(function)
    if unfinished:
        return Check(False, unfinished, name, told)
    if isinstance(reference, str):
        inputs = hidden(reference, dtypes, seed, options)
    else:
        inputs = like(shapes, _arrays(function), dtypes[0], seed)
        inputs = [replace(x, given=options) for x in inputs]
    rows: list[Tried] = []
    for x in inputs:
        rows.append(_tried(function, reference, machine, x))
        if rows[-1].wrong:
            break
    why = rows[-1].wrong or next((row.too_much for row in rows if row.too_much), "")
    return Check(not why, why, name, told, tuple(rows))


def _types(dtypes: Any) -> tuple[str, ...]:
    names = (dtypes,) if isinstance(dtypes, str) else tuple(dtypes)
    known = [name for name in STORAGE if not name.startswith("float8")]
    for name in names:
        if name not in known:
            raise ValueError(unknown("type", name, known))
    if not names:
        raise ValueError(f"dtypes={shown(dtypes)}: give one at least, as ('float32',)")
    return names


def _told(reference: Any, shapes: Any) -> str:
    """What the reference is called; ValueError or TypeError for one that there is not."""
    if isinstance(reference, str):
        if reference not in algorithms:
            raise ValueError(unknown("algorithm", reference, algorithms))
        if reference in NO_INPUTS:
            raise ValueError(f"{reference} has no hidden inputs: {ELSEWHERE[reference]}")
        if shapes is not None:
            raise ValueError(f"shapes are those of a NumPy reference; {reference} has hidden shapes of its own")
        return reference
    if not callable(reference):
        raise TypeError(f"reference={shown(reference)}: give the name of an algorithm, as 'flash2', or a NumPy function")
    return "the NumPy function"


def _arrays(function: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds][1:]


def _unfinished(function: Any) -> str | None:
    """Where `...` still stands for something to be written."""
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(plain(function)))
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    indices = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Subscript) for part in ast.walk(node.slice)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value is ... and id(node) not in indices:
            line = first + node.lineno - 1
            return f"unfinished: line {line} still has `...`, where your code goes: {lines[node.lineno - 1].strip()}"
    return None


def _tried(function: Any, reference: Any, machine: Machine, x: Hidden) -> Tried:
    """One input. wrong: the first fault that was found, in a sentence."""
    on = f"on {x.text()}"
    try:
        its, peeked = x.options(function), False
        if x.counted:
            run = machine.count(function, *x.arrays.values(), **its)
        else:
            run = machine.run(function, *x.arrays.values(), **its)
            peeked = run.peeked
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a student's function does
        if x.counted and "peek" in str(error):
            return Tried(x.text())
        return Tried(x.text(), right=None if x.counted else False, wrong=f"{_raised(error, function)}\n{on}")
    if peeked:
        return Tried(x.text(), right=False, wrong=f"it looks at values with gpu.peek, which reads what nobody counts\n{on}")
    if not isinstance(reference, str):
        fault = wrong(run, {"the output": reference(*x.widened().arrays.values())}, None, x)
        return Tried(x.text(), fault is None, wrong=fault and f"{fault}\n{on}", hbm_bytes=_moved(run), peak_sram=run.peak_sram)
    blocks = {**run.blocks, **x.blocks}
    if blocks:  # a function that takes Br alone is held against blocks of Br × Br
        blocks = {name: next(iter(blocks.values())) for name in BLOCK_OPTIONS} | blocks
    theirs = _counts(reference, machine, replace(x, blocks=blocks))
    row = Tried(
        x.text(),
        None,
        _moved(run),
        None if theirs is None else _moved(theirs),
        run.peak_sram,
        None if theirs is None else theirs.peak_sram,
    )
    if not x.counted:
        fault = _held(run, reference, x)
        row = replace(row, right=fault is None, wrong=fault and f"{fault}\n{on}")
    beyond = _beyond(run, theirs, reference)
    return replace(row, too_much=beyond and f"{beyond}\n{on}")


def _held(run: Run, reference: str, x: Hidden) -> str | None:
    """Outputs against the reference's in float64; rounding may be what its own was."""
    wide, f = x.widened(), algorithms[reference]
    truth = UNLIMITED.run(f, *wide.arrays.values(), **wide.options(f)).outputs
    rounded = UNLIMITED.run(f, *x.arrays.values(), **x.options(f)).outputs
    fault = wrong(run, truth, rounded, x, every=reference in BACKWARD)
    Q = x.arrays.get("Q")
    if fault and reference in FORWARD and Q is not None and Q.ndim == 2 and run.output.shape == truth["O"].shape:
        wide_q, wide_k, wide_v = (wide.arrays[name] for name in "QKV")
        known = named_fault(run.output.astype(np.float64), wide_q, wide_k, wide_v, x.blocks, x.given)
        return f"{known}\n{fault}" if known else fault
    return fault


def _counts(reference: str, machine: Machine, x: Hidden) -> Run | None:
    """The reference's counts, to the byte its closed form's; None where it does not fit with these blocks."""
    try:
        return machine.count(algorithms[reference], *x.arrays.values(), **x.options(algorithms[reference]))
    except SramOverflow:
        return None


def _moved(run: Run) -> int:
    return run.hbm_read + run.hbm_write


def _beyond(run: Run, theirs: Run | None, reference: str) -> str | None:
    """More traffic than the reference's, by tensor; or a larger working set."""
    if theirs is None:
        return None
    if _moved(run) > MORE_BYTES * _moved(theirs):
        more = []
        for name, its in run.tensors.items():
            of = theirs.tensors.get(name, Traffic())
            more.append(
                (its.hbm_read - of.hbm_read, f"{its.hbm_read:,} B of {name} are read, where {reference} reads {of.hbm_read:,} B")
            )
            more.append(
                (
                    its.hbm_write - of.hbm_write,
                    f"{its.hbm_write:,} B of {name} are written, where {reference} writes {of.hbm_write:,} B",
                )
            )
        times = _moved(run) / _moved(theirs)
        return f"it moves {_moved(run):,} B, {times:.2f} × the {_moved(theirs):,} B of {reference}: above all, {max(more)[1]}"
    if run.peak_sram > MORE_SRAM * theirs.peak_sram:
        times = run.peak_sram / theirs.peak_sram
        return (
            f"its working set is {run.peak_sram:,} B, {times:.2f} × the {theirs.peak_sram:,} B of {reference}: "
            "load a tile where it is used, and let none outlive its last use"
        )
    return None


def _raised(error: BaseException, function: Any) -> str:
    """An error as a sentence, with its kind where Python raised it, and the line of the function that it passed last."""
    said = str(error) or "no message"
    if isinstance(error, SramOverflow):
        return said
    code = getattr(inspect.unwrap(plain(function)), "__code__", None)
    passed = [f for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    where = ""
    if passed:
        line = passed[-1].lineno or 0
        text = linecache.getline(passed[-1].filename, line).strip()
        where = f", at line {line}: {text}" if text else f", at line {line}"
    return f"{type(error).__name__}: {said}{where}"
