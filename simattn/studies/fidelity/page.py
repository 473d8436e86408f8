"""Real kernels beside the simulator: a table for a terminal and a notebook, and the page of the report."""

from collections.abc import Iterable

from ...gpu.table import device_text, ratio_text
from ...reference.real_kernels import Row, compulsory, off
from .report import Fidelity

WITHIN = 0.01  # of the measured bytes, beyond which the page lists a row and its reason
LEGEND = """Megabytes, of 10⁶ bytes. *Compulsory*: inputs read once + outputs written once. Where blocks divide the lengths, reads of `flash2` depend on
Br, and those of `flash2_backward` on Bc; the other one is then hardly held to anything."""
KINDS = {"prefill": "Prefill, forward", "backward": "Prefill, backward", "decode": "One query"}


def page(fidelity: Fidelity, head: str, tail: str) -> str:
    """The report in Markdown: what was measured with, head, summaries, the rows that are off and why, all rows, tail."""
    counted = [row for row in fidelity.rows if row.counters]
    workloads = len({row.workload for row in fidelity.rows}), len({row.workload for row in counted})
    with_ = f"Measured on {fidelity.measured_with.get('date')}: {device_text(fidelity.measured_with)}."
    timed = sum(row.ms is not None and not row.counters for row in fidelity.rows)
    said = f"{with_} {workloads[0]} workloads, {len(fidelity.rows)} rows; {workloads[1]} workloads, {len(counted)} rows, under the counters"
    said += f", {timed} timed only, {sum(row.ms is None for row in fidelity.rows)} refused by their kernel."
    parts = ["# The simulator beside the hardware", "", said, "", head.strip(), ""]
    parts += ["## In short", "", *_summary(fidelity), ""]
    parts += [f"## Further off than {WITHIN:.0%}", "", *_outliers(fidelity), ""]
    parts += ["## Under the counters", "", LEGEND, ""]
    for kind, title in KINDS.items():
        rows = [row for row in counted if row.kind == kind]
        if rows:
            parts += [f"### {title}", "", *_rows(rows), ""]
    parts += ["## Timed", "", *_times(fidelity), ""]
    return "\n".join([*parts, tail.strip(), ""])


def _summary(fidelity: Fidelity) -> Iterable[str]:
    known = len(fidelity.compared())
    yield f"Counted ÷ measured, over the {known} rows under the counters of which the kernel is known. Off: by how much the ratio is not 1."
    yield ""
    yield "| | kernel | rows | read: off, median | at most | byte for byte | written: ratio, from | to |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for s in fidelity.summaries():
        rows = [row for row in fidelity.compared() if (row.kind, row.kernel) == (s.kind, s.kernel)]
        same = sum(row.read_ratio == 1 for row in rows)
        written = sorted(row.write_ratio or 0 for row in rows)
        yield f"| {s.kind} | {s.kernel} | {s.n} | {s.median_off:.3%} | {off(s.worst):.3%} | {same} of {s.n} | {written[0]:.3f} | {written[-1]:.3f} |"


def _outliers(fidelity: Fidelity) -> Iterable[str]:
    rows = sorted((row for row in fidelity.compared() if off(row) > WITHIN), key=off, reverse=True)
    if not rows:
        yield "None."
        return
    yield "| kernel | workload | counted ÷ measured, read | why |"
    yield "| --- | --- | ---: | --- |"
    for row in rows:
        yield f"| {row.kernel} | {row.workload} | {row.read_ratio:.4f} | {reason(row)} |"


def reason(row: Row) -> str:
    """What is known of a row whose counted and measured bytes differ."""
    if row.kernel == "unfused" and row.workload.causal:
        mask = "the mask is one for all heads: it is counted once for each, and L1 gives part of it back"
        ragged = "; no tile of the products divides the lengths, and they read beyond, which is not counted"
        return mask + (ragged if row.workload.n_q % 128 or row.workload.n_k % 128 else "")
    return "not known"


def _rows(rows: list[Row]) -> Iterable[str]:
    yield "| workload | kernel | simulated as | read: counted | L2 to SM | ratio | L2 looked up | written: counted | SM to L2 | ratio | DRAM: read | written | compulsory |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        c, m = row.counted, row.counters or {}
        read, written = compulsory(row.workload)
        yield "| " + " | ".join([
            str(row.workload), row.kernel, c.algorithm if c else "not known", _mb(c.read) if c else "", _mb(m["sm_read"]), ratio_text(row.read_ratio),
            _mb(m["l2_read"]), _mb(c.write) if c else "", _mb(m["sm_write"]), ratio_text(row.write_ratio), _mb(m["dram_read"]), _mb(m["dram_write"]),
            f"{_mb(read)} + {_mb(written)}",
        ]) + " |"  # fmt: skip


def _times(fidelity: Fidelity) -> Iterable[str]:
    """A row a workload, a column a kernel."""
    kernels = list(dict.fromkeys(row.kernel for row in fidelity.rows))
    yield "Milliseconds a call; in brackets those of its kernels alone, where they were under the counters, with caches flushed before each kernel:"
    yield "a second kernel, which finds in L2 what the first wrote, then takes longer than it does within a call."
    yield ""
    yield f"| workload | {' | '.join(kernels)} |"
    yield f"| --- |{' ---: |' * len(kernels)}"
    workloads = dict.fromkeys(row.workload for row in fidelity.rows)
    for w in workloads:
        cells = {row.kernel: milliseconds(row) for row in fidelity.rows if row.workload == w}
        yield f"| {w} | {' | '.join(cells.get(kernel, '') for kernel in kernels)} |"


def milliseconds(row: Row) -> str:
    """'0.0877 (0.0293)': of a call, and of its kernels alone."""
    if row.ms is None:
        return "refused"
    return f"{row.ms:.4f}" + (f" ({row.counters['ns'] / 1e6:.4f})" if row.counters else "")


def _mb(n: int) -> str:
    return f"{n / 1e6:,.3f}"
