"""One call on arrays."""

from typing import Any

import numpy as np

from ..hierarchy.catalogue import machine as catalogue_machine
from ..hierarchy.dtypes import accumulation_type
from ..hierarchy.errors import unknown
from ..hierarchy.machine import Machine
from ..hierarchy.run import Run
from ..kernels import APPROXIMATE, DECODING, FORWARD, algorithms, block_sparse
from ..kernels.scores import scores_type
from .cases import stored_by_forward
from .inputs import Array, checked_qkv
from .options import Options


def attention(
    q: Array, k: Array, v: Array, *, algorithm: str = "flash2", machine: Machine | str | None = None, causal: bool = False,
    scale: float | None = None, bias: Array | None = None, mask: Array | None = None,
    window: tuple[int | None, int | None] | None = None, offset: int | None = None, softcap: float | None = None,
    alibi: Any = None, block_mask: Any = None, kv_lens: Any = None, dropout: float = 0.0, rng: Any = None, **blocks: Any,
) -> Run:  # fmt: skip
    """softmax(QKᵀ·scale)V of NumPy arrays, by an algorithm of `sa.algorithms` on a machine: `sa.attention(q, k, v).output`.

    q (N, d) or (batch, heads, N, d); k and v may have fewer heads, and v another width. machine: a Machine or a catalogue name,
    "a100-40gb" unless given. scale: 1/√d unless given. softcap: c·tanh(S/c). bias: (n_q, n_k) or (batch, heads, n_q, n_k), where all
    but the last length may be 1; mask: the same, boolean, True where a key is seen. alibi: a slope a head. causal, window=(left,
    right): query i stands at key i + offset, n_k − n_q unless given. kv_lens: how many keys each batch element has. block_mask: whole
    numbers (Tr, Tc), 0 skip, 1 full, 2 partial (where `mask` says), for `block_sparse`. dropout, rng: the same whole number drops the
    same weights. blocks: Br, Bc, splits, and what else the algorithm takes. ValueError or TypeError names what does not fit.
    """
    known = [f.__name__ for f in (*FORWARD, *DECODING, block_sparse, *APPROXIMATE)]
    if algorithm not in known:
        raise ValueError(unknown("algorithm of Q, K and V", algorithm, known))
    Q, K, _ = checked_qkv(q, k, v)
    options = Options.of(
        Q, K, causal=causal, scale=scale, bias=bias, mask=mask, window=window, offset=offset, softcap=softcap, alibi=alibi,
        kv_lens=kv_lens, dropout=dropout, rng=rng,
    )  # fmt: skip
    f = algorithms[algorithm]
    more = {} if block_mask is None else {"block_mask": block_mask}
    return _machine(machine).run(f, q, k, v, **options.for_run(f, *Q.shape[1:3]), **more, **blocks)


def attention_backward(
    q: Array, k: Array, v: Array, o: Array, lse: Array, do: Array, *, algorithm: str = "flash2",
    machine: Machine | str | None = None, p: Array | None = None, **options: Any,
) -> Run:  # fmt: skip
    """The gradients dQ, dK and dV of sum(O ∘ dO), by `<algorithm>_backward`: `run.outputs["dQ"]`, of the shapes of q, k and v.

    o, lse: what the forward pass gave (`run.output`, `run.lse`); do: of o's shape. p: for "naive", the P that its forward pass stored
    (`return_P=True`); made by a run of it, which is not counted, unless given. options: those of `sa.attention`, the same as forward,
    an rng that is a whole number included. ValueError for an algorithm without a backward pass.
    """
    backward = f"{algorithm}_backward"
    if backward not in algorithms:
        known = [name.removesuffix("_backward") for name in algorithms if name.endswith("_backward")]
        raise ValueError(f"{algorithm} has no backward pass; those that have: {', '.join(known)}")
    Q, K, _ = checked_qkv(q, k, v)
    shape = (*q.shape[:-1], v.shape[-1])
    _check("o", o, shape, q.dtype)
    _check("do", do, shape, q.dtype)
    _check("lse", lse, shape[:-1], accumulation_type([q.dtype]))
    if p is not None:
        _check("p", p, (*q.shape[:-1], k.shape[-2]), scores_type(q.dtype))
    if options.get("dropout") and not isinstance(options.get("rng"), int | np.integer):
        raise ValueError(
            f"rng={options.get('rng')!r}: give the whole number of the forward pass, so that the same weights are dropped"
        )
    blocks: dict[str, Any] = {name: options.pop(name) for name in ("Br", "Bc") if name in options}
    given = Options.of(Q, K, **options).for_run()
    if p is not None:
        blocks["P"] = p
    stored = stored_by_forward(algorithm, (q, k, v), given, blocks)
    return _machine(machine).run(algorithms[backward], q, k, v, o, lse[..., None], do, **given, **stored, **blocks)


def _check(name: str, x: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(x, np.ndarray) or x.shape != shape or x.dtype != dtype:
        found = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise ValueError(f"{name} is {found}: the forward pass gives {dtype} of shape {shape}")
    if name != "lse" and not np.isfinite(x).all():
        raise ValueError(f"{name} holds values that are not finite")


def _machine(machine: Machine | str | None) -> Machine:
    return machine if isinstance(machine, Machine) else catalogue_machine(machine or "a100-40gb")
