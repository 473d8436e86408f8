"""Models by the shape of their attention, each with its source; and the scenarios in which they run."""

from dataclasses import dataclass, replace

from ...hierarchy.errors import unknown

LARGEST, PAGE = (128, 64, 32, 16), 16  # sizes of blocks that are tried; keys of a page, vLLM's default


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model's attention: layers, heads, widths of a head's keys (d) and values (d_v), storage type.

    latent: the widths of the vector and of the rotary key that its cache holds a token in place of keys and values. dropout: of the
    weights, in training.
    """

    name: str
    source: str
    layers: int
    heads: int
    kv_heads: int
    d: int
    d_v: int
    dtype: str
    latent: tuple[int, int] | None = None
    dropout: float = 0.0


GPT2_MEDIUM = Model(
    name="GPT-2 medium", source="Radford et al. 2019, table 2; heads: hparams.json; dropout: GPT, 2018, section 4.1",
    layers=24, heads=16, kv_heads=16, d=64, d_v=64, dtype="float16", dropout=0.1,
)  # fmt: skip
LLAMA_3_8B = Model(
    name="Llama-3-8B", source="arXiv 2407.21783, table 3; of 128K context from Llama 3.1 on",
    layers=32, heads=32, kv_heads=8, d=128, d_v=128, dtype="bfloat16",
)  # fmt: skip
DEEPSEEK_V2 = Model(  # a head's keys are 128 wide, and the rotary part, 64
    name="DeepSeek-V2", source="arXiv 2405.04434, section 3.1.2",
    layers=60, heads=128, kv_heads=128, d=128 + 64, d_v=128, dtype="bfloat16", latent=(512, 64),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A named workload: `turns` times a prompt of so many tokens, then so many steps of one token each, for a batch of sequences.

    Without steps it is training: forward and backward over sequences of `prompt` tokens. machine: its default, a catalogue name.
    blocks: sizes of blocks to try, the largest Br that fits first, then the largest Bc.
    """

    name: str
    model: Model
    machine: str
    batch: int
    prompt: int
    steps: int = 0
    turns: int = 1
    blocks: tuple[int, ...] = LARGEST
    page: int = PAGE

    def __post_init__(self) -> None:
        least = {"batch": 1, "prompt": 1, "steps": 0, "turns": 1, "page": 1}
        for name, value in {**{name: getattr(self, name) for name in least}, "layers": self.model.layers}.items():
            if value < least.get(name, 1):
                raise ValueError(f"{name}={value}: it is a whole number from {least.get(name, 1)} on")

    @property
    def trains(self) -> bool:
        return self.steps == 0

    @property
    def tokens(self) -> int:
        """Of one sequence, at the end."""
        return self.turns * (self.prompt + self.steps)

    @property
    def generated(self) -> int:
        """Tokens, over the batch; in training, those trained on."""
        return self.batch * (self.prompt if self.trains else self.turns * self.steps)

    def changed(self, *, layers: int | None = None, **others: int | None) -> "Scenario":
        """With other numbers, where they are not None; ValueError for steps in training."""
        given = {name: value for name, value in others.items() if value is not None}
        if self.trains and "steps" in given:
            raise ValueError(f"steps={given['steps']}: {self.name} generates nothing; prompt= is the length of its sequences")
        if not self.trains and given.get("steps") == 0:
            raise ValueError(f"steps=0: {self.name} generates at least 1 token")
        model = self.model if layers is None else replace(self.model, layers=layers)
        return replace(self, model=model, **given)  # type: ignore[arg-type]

    def reduced(self) -> "Scenario":
        """Small enough to be executed while one waits: four KV heads of one layer and one sequence, three blocks of keys, three steps,
        two turns."""
        kv_heads = min(self.model.kv_heads, 4)
        model = replace(self.model, layers=1, kv_heads=kv_heads, heads=self.model.heads // self.model.kv_heads * kv_heads)
        return replace(self, model=model, batch=1, prompt=min(self.prompt, 260), steps=min(self.steps, 3), turns=min(self.turns, 2))

    def __str__(self) -> str:
        sequences = "1 sequence" if self.batch == 1 else f"{self.batch:,} sequences"
        if self.trains:
            return f"forward and backward, {sequences} of {self.prompt:,} tokens"
        turns = "" if self.turns == 1 else f"{self.turns:,} turns of "
        return f"{sequences}, {turns}a prompt of {self.prompt:,} tokens and {self.steps:,} generated one by one"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="long-text", model=LLAMA_3_8B, machine="a100-40gb", batch=1, prompt=8192, steps=1024),
        Scenario(name="dialogue", model=DEEPSEEK_V2, machine="h200", batch=8, prompt=512, steps=128, turns=4),
        Scenario(name="training", model=GPT2_MEDIUM, machine="a100-40gb", batch=8, prompt=1024),
    )
}


def scenario(name: str) -> Scenario:
    """A scenario by its name; ValueError, with the nearest, for another."""
    if name not in SCENARIOS:
        raise ValueError(unknown("scenario", name, SCENARIOS))
    return SCENARIOS[name]
