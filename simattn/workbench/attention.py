"""One call on arrays."""

from typing import Any

import numpy as np

from ..hierarchy.checks import array, instance, shown
from ..hierarchy.dtypes import Array, accumulation_type, scores_type
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import BACKWARD, algorithms
from ..score_options import ASKED
from .cases import stored_by_forward
from .inputs import check_names, checked_machine, checked_qkv
from .listed import Algorithm, check_options, comparable, entry
from .options import Options


def attention(
    q: Array, k: Array, v: Array, *, algorithm: str | Algorithm = "flash2", machine: Machine | str | None = None, causal: bool = False,
    scale: float | None = None, bias: Array | None = None, mask: Array | None = None,
    window: tuple[int | None, int | None] | None = None, offset: int | None = None, softcap: float | None = None,
    alibi: Any = None, block_mask: Any = None, kv_lens: Any = None, dropout: float = 0.0, rng: Any = None, **blocks: Any,
) -> Run:  # fmt: skip
    """softmax(QKᵀ·scale)V of NumPy arrays, by an algorithm of `sa.algorithms` or a function of yours: `sa.attention(q, k,
    v).output`.

    q (N, d) or (batch, heads, N, d); k and v may have fewer heads, and v another width. machine: a Machine or a catalogue name,
    "a100-40gb" unless given. scale: 1/√d unless given. softcap: c·tanh(S/c). bias: (n_q, n_k) or (batch, heads, n_q, n_k), where
    all but the last length may be 1; mask: the same, boolean, True where a key is seen. alibi: a slope a head. causal,
    window=(left, right): query i stands at key i + offset, n_k − n_q unless given. kv_lens: how many keys each batch element has.
    block_mask: whole numbers (Tr, Tc), 0 skip, 1 full, 2 partial (where `mask` says), for `block_sparse`. dropout, rng: the same
    whole number drops the same weights. blocks: Br, Bc, splits, and what else the algorithm takes. ValueError or TypeError names
    what does not fit.

    >>> run = sa.attention(Q, K, V, causal=True, window=(15, 0))
    >>> run.output.shape, run.hbm_read
    ((64, 32), 24576)
    """
    known = comparable(backward=False)
    asked = entry(algorithm, known)
    if block_mask is not None:
        blocks["block_mask"] = block_mask
    check_options([asked], blocks, known)
    gpu = checked_machine("a100-40gb" if machine is None else machine)
    Q, K, _ = checked_qkv(q, k, v)
    options = Options.of(
        Q, K, causal=causal, scale=scale, bias=bias, mask=mask, window=window, offset=offset, softcap=softcap, alibi=alibi,
        kv_lens=kv_lens, dropout=dropout, rng=rng,
    )  # fmt: skip
    return gpu.run(asked.function, q, k, v, **options.for_run(asked.function, *Q.shape[1:3]), **blocks)


def attention_backward(
    q: Array, k: Array, v: Array, o: Array, lse: Array, do: Array, *, algorithm: str = "flash2",
    machine: Machine | str | None = None, p: Array | None = None, **options: Any,
) -> Run:  # fmt: skip
    """The gradients dQ, dK and dV of sum(O ∘ dO), by `<algorithm>_backward`: `run.outputs["dQ"]`, of the shapes of q, k and v.

    o, lse: what the forward pass gave (`run.output`, `run.lse`); do: of o's shape. p: for "naive", the P that its forward pass
    stored (`return_P=True`); made by a run of it, which is not counted, unless given. options: those of `sa.attention`, the same as
    forward, an rng that is a whole number included. ValueError for an algorithm without a backward pass.

    >>> run = sa.attention(Q, K, V, causal=True)
    >>> sorted(sa.attention_backward(Q, K, V, run.output, run.lse, np.ones_like(V), causal=True).outputs)
    ['dK', 'dQ', 'dV']
    """
    known = {name.removesuffix("_backward"): algorithms[name] for name in BACKWARD}
    instance("algorithm", algorithm, str, f"give a name, as {next(iter(known))!r}")
    if algorithm not in known:
        raise ValueError(f"{algorithm} has no backward pass; these have one: {', '.join(known)}")
    gpu = checked_machine("a100-40gb" if machine is None else machine)
    Q, K, _ = checked_qkv(q, k, v)
    shape = (*q.shape[:-1], v.shape[-1])
    _check("o", o, shape, Q.dtype)
    _check("do", do, shape, Q.dtype)
    _check("lse", lse, shape[:-1], accumulation_type([Q.dtype]))
    if p is not None:
        _check("p", p, (*q.shape[:-1], k.shape[-2]), scores_type(Q.dtype))
    blocks: dict[str, Any] = {name: options.pop(name) for name in list(options) if name not in ASKED}
    check_names([algorithm], blocks, known)
    asked = Options.of(Q, K, **options)
    if asked.dropout and not isinstance(options.get("rng"), int | np.integer):
        raise ValueError(
            f"rng={shown(options.get('rng'))}: give the whole number of the forward pass, so that the same weights are dropped"
        )
    given = asked.for_run()
    if p is not None:
        blocks["P"] = p
    stored = stored_by_forward(known[algorithm], (q, k, v), given, blocks)
    return gpu.run(known[algorithm], q, k, v, o, lse[..., None], do, **given, **stored, **blocks)


def _check(name: str, given: Any, shape: tuple[int, ...], dtype: Any) -> None:
    x = array(name, given, shape=f"{shape}, as the forward pass gives it")
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(f"{name} is {x.dtype} of shape {x.shape}: the forward pass gives {dtype} of shape {shape}")
    if np.isnan(x).any() or (name != "lse" and not np.isfinite(x).all()):
        raise ValueError(f"{name} holds values that are not finite: give those of the forward pass, or a gradient without them")
