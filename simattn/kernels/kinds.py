"""What an algorithm is for. The registry says it of each, and with it where its file lies and beside which others it is shown."""

from collections.abc import Callable
from typing import Any

Algorithm = Callable[..., Any]

Forward = Algorithm  # exact attention of any Q, K and V
UnderBlockMask = Algorithm  # exact attention of any Q, K and V, under a mask of blocks
Decoding = Algorithm  # exact causal attention of Q, K and V, step by step
OfOtherInputs = Algorithm  # attention of more or other arrays than Q, K and V
Approximate = Algorithm  # of Q, K and V, but not softmax(QKᵀ/√d)V
Backward = Algorithm  # the gradients, of Q, K, V, O, lse and dO
Basic = Algorithm  # no attention

GROUP = {
    "Forward": "exact", "UnderBlockMask": "exact", "Decoding": "decoding", "OfOtherInputs": "of other inputs", "Approximate": "approximate",
    "Backward": "backward", "Basic": "basics",
}  # fmt: skip
"""Kind -> the group in which help pages and documents list it."""

FOLDER = {"Approximate": ".approximate", "Basic": ".basics"}
"""Kind -> the package of its files, where that is not `kernels` itself."""
