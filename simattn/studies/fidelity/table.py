"""The table of measurements: a row a kernel and kind of workload."""

from rich.console import Group

from ...gpu.table import device_text
from ...reference.real_kernels import off
from ...text.layout import Columns
from .report import Fidelity


def summary_table(fidelity: Fidelity) -> Group:
    """How far counted loads are from measured ones: in the median over the rows, and at most."""
    table = Columns(f"Counted bytes against measured ones\n{device_text(fidelity.measured_with)}", "kernel")
    table.numbers("workloads", "rows", "loads off,\nmedian", "loads off,\nat most")
    for s in fidelity.summaries():
        table.add_row(s.kernel, s.kind, str(s.n), f"{s.median_off:.3%}", f"{off(s.worst):.3%}")
    return Group(table)
