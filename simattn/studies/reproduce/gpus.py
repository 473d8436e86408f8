"""What a GPU's published figures say about one another."""

from collections.abc import Iterator

from ...hierarchy.catalogue import machine
from .row import Row

SECTION = "NVIDIA's architecture whitepapers: dense FP16 FLOP a clock an SM"

FLOP_PER_CLOCK = {
    "v100": 1024, "t4": 1024, "a100-40gb": 2048, "a100-80gb": 2048, "h100-sxm": 4096, "h200": 4096, "b200": 8192,
}  # fmt: skip
FIGURES = {"sms": "SMs", "mhz": "clock", "tflops": "TFLOP/s"}


def rows() -> Iterator[Row]:
    """Peak over SMs and clock: a figure of the catalogue that is wrong would show."""
    for name, published in FLOP_PER_CLOCK.items():
        gpu = machine(name)
        doubtful = [text for figure, text in FIGURES.items() if gpu.sources[figure].startswith("from memory")]
        yield Row(
            section=SECTION, what=gpu.title, unit="FLOP", published=published, published_is="stated", tolerance=0.005 * published,
            ours=gpu.flops["float16"] / ((gpu.sms or 0) * (gpu.clock or 0)), ours_is="computed",
            run="peak / (SMs · clock) of the catalogue, within 0.5 %; nothing is executed",
            note=f"not checked against a document: {', '.join(doubtful)}" if doubtful else "",
        )  # fmt: skip
