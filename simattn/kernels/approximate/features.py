"""Random directions for FAVOR+, made on the host."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hierarchy.checks import whole


def orthogonal_features(m: int, d: int, rng: Any = None) -> NDArray[np.float64]:
    """W (m, d) for `performer`: rows as of N(0, I), but orthogonal within each d of them (Choromanski et al. 2021).

    rng: as NumPy's default_rng takes it. Lengths are those of Gaussian vectors, chi(d). QR alone gives no uniform directions: LAPACK
    fixes the signs of R's diagonal, so Q is multiplied by them; without that the estimate is biased.

    >>> W = sa.orthogonal_features(16, 32, rng=0)
    >>> W.shape, np.allclose(W @ W.T, np.diag((W**2).sum(axis=1)))
    ((16, 32), True)
    """
    whole("m", m, 1, None, "features are at least 1")
    whole("d", d, 1, None, "a width is at least 1")
    rng = np.random.default_rng(rng)
    parts = []
    for _ in range(-(-m // d)):
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        parts.append((q * np.sign(np.diag(r))).T)
    directions: NDArray[np.float64] = np.concatenate(parts)[:m]
    lengths: NDArray[np.float64] = np.sqrt(rng.chisquare(d, (m, 1)))
    return np.multiply(directions, lengths)
