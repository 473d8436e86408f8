"""The claims of a widely read article on FlashAttention and Flash-Decoding, each with what was computed for it and a verdict from
the numbers."""

from .claim import Claim, Judgement, Quantity, Verdict
from .collection import CHECKS, Claims, claims

__all__ = ["CHECKS", "Claim", "Claims", "Judgement", "Quantity", "Verdict", "claims"]
