"""The options of the scores, listed once: what may happen to QKᵀ before the softmax, and to the weights after it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from .hierarchy.checks import flag, number, optional, sides, whole
from .hierarchy.errors import unknown


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The options that all algorithms share, and the truth takes, in the order in which they are applied (ONNX's, too).

    Numbers are checked here, for every door alike: TypeError or ValueError names the one that does not fit. What fits an array depends
    on Q and K, so whoever holds these checks bias, alibi, mask and kv_lens.
    """

    scale: float | None = None  # of QKᵀ; 1/√d unless given
    softcap: float | None = None  # c, for c·tanh(S/c)
    bias: Any = None  # added to the scores
    alibi: Any = None  # a slope for each head; slope·distance is subtracted
    mask: Any = None  # boolean, True where a query sees a key
    causal: bool = False  # the same as 0 on the right of the window
    window: tuple[int | None, int | None] | None = None  # how many keys a query sees before and after its own; None for no bound
    offset: int | None = None  # query i stands at key i + offset; number of keys − n_q unless given
    kv_lens: Any = None  # how many keys there are, where K has room for more
    dropout: float = 0.0  # the probability with which a weight becomes 0
    seed: int = 0  # of dropout's random numbers

    def __post_init__(self) -> None:
        window = sides("window", self.window)
        checked = {
            "scale": optional(number, "scale", self.scale),
            "softcap": optional(number, "softcap", self.softcap, above=0),
            "causal": flag("causal", self.causal),
            "window": None if window == (None, None) else window,
            "offset": optional(whole, "offset", self.offset),
            "dropout": number("dropout", self.dropout, least=0, below=1),
            "seed": whole("seed", self.seed, 0, (1 << 64) - 1),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of_keywords(cls, options: Mapping[str, Any], elsewhere: Mapping[str, str] | None = None) -> Self:
        """Options by name; TypeError for another name. elsewhere: as `unknown` takes it."""
        for name in options:
            if name not in OPTIONS:
                raise TypeError(unknown("option", name, OPTIONS, elsewhere))
        return cls(**options)

    def given(self) -> dict[str, Any]:
        """The options that are not at their defaults."""
        asked = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {name: x for name, (x, default) in asked.items() if x is not None and (default is None or x != default)}

    @property
    def reach(self) -> tuple[int | None, int | None]:
        """How many keys a query sees before and after its own, by window and causal together; None for no bound."""
        left, right = self.window or (None, None)
        return left, (0 if right is None else min(right, 0)) if self.causal else right


OPTIONS = tuple(f.name for f in fields(ScoreOptions))
"""Their names, as `machine.run` takes them."""

ASKED = tuple("rng" if name == "seed" else name for name in OPTIONS)
"""The same as `sa.attention` takes them, which draws the seed from an rng."""
