"""Ways to run a scenario: which algorithms are launched on which shapes, and what each keeps in HBM."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...hierarchy.dtypes import accumulation_type, storage_type
from ...reference.problem import Problem
from .call import Call
from .models import Scenario

TRAINING = ("unfused_chain", "naive", "flash1", "flash2")


@dataclass(frozen=True, kw_only=True)
class Way:
    """The launches of one layer. cache: bytes of the KV caches of all layers and sequences at the end; a_token: what a token adds to
    them. kept: bytes that are in HBM throughout, the caches, or what backward needs of the forward pass, of all layers."""

    name: str
    calls: tuple[Call, ...]
    kept: int
    cache: int = 0
    a_token: int = 0


def ways(s: Scenario) -> list[Way]:
    """From the one that moves most bytes on."""
    return [_training(s, name) for name in TRAINING] if s.trains else list(_generation(s))


def _generation(s: Scenario) -> Iterator[Way]:
    cache = "cache" if s.model.latent is None else "MHA cache"
    yield Way(name="no cache: recompute_decode", calls=tuple(_recomputed(s)), kept=0)
    yield _cached(s, f"{cache}: naive", "naive", "naive")
    if s.turns == 1:
        yield _incremental(s, f"{cache}: incremental")
    yield _cached(s, f"{cache}: flash2, split_kv", "flash2", "split_kv")
    if s.model.latent is None:
        yield _cached(s, f"pages of {s.page}: flash2, paged", "flash2", "paged")
    else:
        yield _cached(s, "latent: flash2, mla", "flash2", "mla", latent=True)
        yield _cached(s, "latent: mla", "mla", "mla", latent=True)


def _recomputed(s: Scenario) -> Iterator[Call]:
    """At every step the attention of the whole prefix, in each turn that of all turns before, too."""
    for turn in range(1, s.turns + 1):
        n = turn * (s.prompt + s.steps)
        p = _problem(s, n, n)
        for phase, kernel in (("prefill", "prefill"), ("decode", "step")):
            yield Call(
                phase=phase, algorithm="recompute_decode", problem=p, steps=s.steps, only=(kernel,), beside=_beside(p, n, n),
            )  # fmt: skip


def _cached(s: Scenario, name: str, prefill: str, step: str, *, latent: bool = False) -> Way:
    """A prompt attends to the cache and to itself, then each token to the cache and to itself. What is new is copied into the cache."""
    calls: list[Call] = []
    for turn in range(s.turns):
        start = turn * (s.prompt + s.steps)
        whole = latent and prefill == "flash2"  # keys and values of every head are made of the latent vectors of all tokens
        calls.append(_append(s, "prefill", s.prompt, latent=latent))
        calls.append(_attend(s, "prefill", prefill, s.prompt, start + s.prompt, whole=whole))
        calls.append(_append(s, "decode", 1, latent=latent, times=s.steps))
        last = start + s.prompt + s.steps
        decode = _attend(s, "decode", step, 1, last)
        calls.append(replace(decode, lengths=range(last - s.steps + 1, last + 1)))
    tokens, tables = s.tokens, 0
    if step == "paged":
        tokens = math.ceil(s.tokens / s.page) * s.page
        tables = 4 * s.batch * (tokens // s.page + 1)  # page numbers and a length, 32 bits each, for all layers
    a_token = s.model.layers * _width(s, latent=latent) * _sizes(s)[0]
    cache = s.batch * tokens * a_token
    return Way(name=name, calls=tuple(calls), kept=cache + tables, cache=cache, a_token=a_token)


def _incremental(s: Scenario, name: str) -> Way:
    """Prompt and steps by one run of `incremental`, which appends to its cache by itself."""
    p = _problem(s, s.tokens, s.tokens)
    beside = {"prefill": _beside(p, s.prompt, s.prompt), "decode": _beside(p, 1, 1)}
    attends = [
        Call(phase=phase, algorithm="incremental", problem=p, steps=s.steps, only=(phase,), beside=beside[phase], scratch=False)
        for phase in beside
    ]
    appends = [_append(s, "prefill", s.prompt), _append(s, "decode", 1, times=s.steps)]
    a_token = s.model.layers * _width(s) * _sizes(s)[0]
    cache = s.batch * s.tokens * a_token
    return Way(name=name, calls=(*appends, *attends), kept=cache, cache=cache, a_token=a_token)


def _append(s: Scenario, phase: str, n: int, *, latent: bool = False, times: int = 1) -> Call:
    """n new tokens go into the cache, as `incremental` copies them: a latent vector and its rotary key as a key and a value would."""
    p = _problem(s, n, n)
    if s.model.latent is not None and latent:
        p = Problem(batch=s.batch, n_q=n, n_k=n, d=s.model.latent[0], d_v=s.model.latent[1], dtype=s.model.dtype, causal=True)
    new = s.batch * n * _width(s, latent=latent) * _sizes(s)[0]
    return Call(
        phase=phase, algorithm="incremental", problem=p, steps=0, only=("append",), times=times, beside=new, scratch=False
    )  # fmt: skip


def _attend(s: Scenario, phase: str, algorithm: str, n_q: int, n_k: int, *, whole: bool = False) -> Call:
    """The last n_q of n_k tokens attend to all before. whole: keys and values of all n_k lie beside the cache, not of the n_q only."""
    if algorithm == "mla":
        vector, rotary = s.model.latent or (0, 0)
        p = Problem(
            batch=s.batch, heads=s.model.heads, kv_heads=1, n_q=n_q, n_k=n_k, d=vector + rotary, d_v=vector, dtype=s.model.dtype,
            causal=n_q > 1,
        )  # fmt: skip
        return Call(phase=phase, algorithm=algorithm, problem=p, beside=_beside(p, n_q, n_q, shared=True))
    if algorithm == "paged":
        room = math.ceil(n_k / s.page) * s.page
        p = _problem(s, n_q, room, kv_len=n_k)
        return Call(phase=phase, algorithm=algorithm, problem=p, page=s.page, beside=_beside(p, n_q, n_q))
    p = _problem(s, n_q, n_k)
    return Call(phase=phase, algorithm=algorithm, problem=p, beside=_beside(p, n_q, n_k if whole else n_q))


def _training(s: Scenario, name: str) -> Way:
    """Every layer keeps Q, K, V, O and lse for its backward pass, and P, the dropout's choice and P after it, where scores are stored."""
    item, acc = _sizes(s)
    p = _problem(s, s.prompt, s.prompt, dropout=s.model.dropout > 0)
    P = p.lanes * p.n_q * p.n_k
    stored = {"naive": P * item, "unfused_chain": P * (item + (item + 1) * p.dropout)}.get(name, 0)
    qkvo = _beside(p, p.n_q, p.n_k)
    gradients = qkvo - p.lanes * p.n_q * acc  # dO, dQ, dK, dV: as Q, K, V, O, without lse
    forward = Call(phase="forward", algorithm=name, problem=p, beside=-stored)  # its footprint has them already
    backward = Call(phase="backward", algorithm=f"{name}_backward", problem=p, beside=gradients)
    return Way(name=name, calls=(forward, backward), kept=s.model.layers * (qkvo + stored))


def _problem(s: Scenario, n_q: int, n_k: int, *, kv_len: int | None = None, dropout: bool = False) -> Problem:
    m = s.model
    return Problem(
        batch=s.batch, heads=m.heads, kv_heads=m.kv_heads, n_q=n_q, n_k=n_k, d=m.d, d_v=m.d_v, dtype=m.dtype, causal=n_q > 1,
        kv_len=kv_len, dropout=dropout,
    )  # fmt: skip


def _beside(p: Problem, queries: int, keys: int, *, shared: bool = False) -> int:
    """Bytes of Q, O and lse of so many queries, and of K and V of so many keys; shared: V is a part of K."""
    item, acc, d_v = storage_type(p.dtype).itemsize, accumulation_type([storage_type(p.dtype)]).itemsize, p.d_v or p.d
    return p.lanes * queries * (item * (p.d + d_v) + acc) + p.kv_lanes * keys * item * (p.d if shared else p.d + d_v)


def _width(s: Scenario, *, latent: bool = False) -> int:
    """Elements that a token has in the cache of a layer."""
    m = s.model
    return sum(m.latent) if latent and m.latent else m.kv_heads * (m.d + m.d_v)


def _sizes(s: Scenario) -> tuple[int, int]:
    """Bytes of an element stored, and accumulated."""
    kind = storage_type(s.model.dtype)
    return kind.itemsize, accumulation_type([kind]).itemsize
