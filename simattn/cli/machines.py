"""`simattn machines`."""

from ..hierarchy.catalogue import machines
from ..hierarchy.machine import Machine
from ..text.console import show
from ..text.layout import Columns
from ..text.units import bytes_text, kib_text
from .options import Json, echo_json


def command(json_: Json = False) -> None:
    """List the GPUs whose capacities simattn knows; with --json, the source of each figure."""
    known = machines()
    if json_:
        echo_json({"machines": [vars(m) for m in known]})
    else:
        show(machines_table(known))


def machines_table(machines: list[Machine]) -> Columns:
    """The catalogue."""
    table = Columns("GPUs that sa.machine(name) knows", "name")
    table.numbers(
        "SMs", "clock", "shared memory\na block", "registers\nan SM", "SRAM a\nthread block", "L2", "HBM", "HBM\nbandwidth", "FP16 dense\nTFLOP/s", "FP32\nTFLOP/s",
    )  # fmt: skip
    for m in machines:
        table.add_row(
            m.name, str(m.sms), f"{(m.clock or 0) / 1e6:,.0f} MHz", kib_text(m.shared_memory or 0), kib_text(m.registers or 0), kib_text(m.sram),
            bytes_text(m.l2 or 0), bytes_text(m.hbm or 0), f"{bytes_text(m.hbm_bandwidth or 0)}/s",
            f"{m.flops['float16'] / 1e12:,.0f}", f"{m.flops['float32'] / 1e12:,.1f}",
        )  # fmt: skip
    return table
