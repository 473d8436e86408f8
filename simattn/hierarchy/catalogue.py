"""The GPUs that `sa.machine(name)` knows: data in catalogue.toml, each figure with its source."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from .checks import instance
from .device import KiB
from .errors import unknown
from .machine import Machine

FIGURES = ("sms", "mhz", "shared_memory", "registers", "l2", "hbm", "bandwidth", "tflops")


def machines() -> list[Machine]:
    """Every GPU of the catalogue.

    >>> [m.name for m in sa.machines()][:4]
    ['v100', 't4', 'a100-40gb', 'a100-80gb']
    """
    return [machine(name) for name in _catalogue() if name != "sources"]


def machine(name: str) -> Machine:
    """A GPU of the catalogue, as a two-level machine: SRAM over HBM. An unknown name raises a ValueError.

    >>> h100 = sa.machine("h100-sxm")
    >>> h100.sms, h100.sram // sa.KiB
    (132, 483)
    """
    instance("machine", name, str, "give a name of sa.machines(), or a sa.Machine")
    return _machine(name)


@cache
def _machine(name: str) -> Machine:
    gpus = {key: gpu for key, gpu in _catalogue().items() if key != "sources"}
    if name not in gpus:
        raise ValueError(unknown("machine", name, gpus) + "; sa.Machine(name=..., sram=...) makes another")
    gpu = gpus[name]
    texts = _catalogue()["sources"]
    return Machine(
        name=name,
        title=gpu["title"],
        sram=(gpu["shared_memory"] + gpu["registers"]) * KiB,
        shared_memory=gpu["shared_memory"] * KiB,
        registers=gpu["registers"] * KiB,
        l2=gpu.get("l2_bytes", gpu["l2"] * 10**6),
        hbm=gpu["hbm"] * 10**9,
        hbm_bandwidth=gpu["bandwidth"] * 1e9,
        sms=gpu["sms"],
        clock=gpu["mhz"] * 1e6,
        flops={kind: rate * 1e12 for kind, rate in gpu["tflops"].items()},
        sources={figure: texts[gpu["source"].get(figure, gpu["source"]["default"])] for figure in FIGURES},
    )


@cache
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
