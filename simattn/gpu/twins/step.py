"""One visit to a block of keys: what flash2 and split_kv have between their loads and their stores.

S stays unscaled in its registers, and P is taken to base 2, so that one multiply-add scales, subtracts the maximum and feeds the
hardware's exponential: `scale` is scale·log₂e, and m is in base 2, too; it begins at float32's finite minimum, from which a row that sees
no key never moves. Constants stand in the kernels as numbers, for Triton compares globals at every launch.
"""

import triton
import triton.language as tl

LOG2E = 1.4426950408889634


@triton.jit
def visit(Qi, Kj, Vj, Oi, l, m, scale, seen, MASKED: tl.constexpr):
    """Oi, l and m after keys j; seen: where a row sees a key, if MASKED."""
    S = tl.dot(Qi, Kj.T)
    if MASKED:
        S = tl.where(seen, S, float("-inf"))
    m_old = m
    m = tl.maximum(m, tl.max(S, 1) * scale)
    P = tl.math.exp2(S * scale - m[:, None])
    a = tl.math.exp2(m_old - m)
    l = a * l + tl.sum(P, 1)
    Oi = tl.dot(P.to(Vj.dtype), Vj, a[:, None] * Oi)
    return Oi, l, m
