"""The page docs/fidelity.md: its tables; what it says of them is page.md, and h100.md of the kernels there."""

from collections.abc import Iterable

from ...gpu.table import device_text, ratio_text
from ...reference.real_kernels import Row, compulsory, off
from ...text.template import filled
from .report import Fidelity

WITHIN = 0.01  # of the measured bytes, beyond which the page lists a row and its reason
LENGTHS = (512, 1024, 2048)  # of the article
KINDS = {"prefill": "Prefill, forward", "backward": "Prefill, backward", "decode": "One query"}


def report(fidelity: Fidelity) -> str:
    """The page in Markdown. What kernels were found to do stands there for the device that it was found on."""
    counted = [row for row in fidelity.rows if row.counters]
    by_kind = {title: [row for row in counted if row.kind == kind] for kind, title in KINDS.items()}
    return filled(
        __package__,
        date=fidelity.measured_with.get("date"),
        device=device_text(fidelity.measured_with),
        workloads=len({row.workload for row in fidelity.rows}),
        rows=len(fidelity.rows),
        counted_workloads=len({row.workload for row in counted}),
        counted_rows=len(counted),
        timed=sum(row.ms is not None and not row.counters for row in fidelity.rows),
        refused=sum(row.ms is None for row in fidelity.rows),
        found="\n" + filled(__package__, "h100.md") if "H100" in str(fidelity.measured_with.get("device")) else "",
        known=len(fidelity.compared()),
        summary="\n".join(_summary(fidelity)),
        within=f"{WITHIN:.0%}",
        outliers="\n".join(_outliers(fidelity)),
        counters="\n\n".join("\n".join([f"### {title}\n", *_rows(rows)]) for title, rows in by_kind.items() if rows),
        times="\n".join(_times(fidelity)),
        article="\n".join(_article(fidelity)),
    )


def _summary(fidelity: Fidelity) -> Iterable[str]:
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
    yield f"| workload | {' | '.join(kernels)} |"
    yield f"| --- |{' ---: |' * len(kernels)}"
    workloads = dict.fromkeys(row.workload for row in fidelity.rows)
    for w in workloads:
        cells = {row.kernel: _milliseconds(row) for row in fidelity.rows if row.workload == w}
        yield f"| {w} | {' | '.join(cells.get(kernel, '') for kernel in kernels)} |"


def _article(fidelity: Fidelity) -> Iterable[str]:
    """The tables of the article, of the workloads that were measured."""
    yield "| | N | unfused | flash | time saved | triton twin |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for title, queries, batch, d, twin in (("prefill", None, 16, 64, "triton_flash2"), ("one query", 1, 1, 128, "triton_split_kv")):
        for n in LENGTHS:
            rows = {
                row.kernel: row for row in fidelity.rows
                if (row.workload.n_k, row.workload.n_q, row.workload.batch, row.workload.d, row.workload.kv_heads, row.workload.backward)
                == (n, queries or n, batch, d, 8 if queries is None else 16, False) and row.ms is not None
            }  # fmt: skip
            if {"unfused", "flash", twin} <= rows.keys():
                saved = 1 - (rows["flash"].ms or 0) / (rows["unfused"].ms or 1)
                times = [_milliseconds(rows[kernel]) for kernel in ("unfused", "flash", twin)]
                yield f"| {title} | {n:,} | {times[0]} | {times[1]} | {saved:.0%} | {times[2]} |"


def _milliseconds(row: Row) -> str:
    """'0.0877 (0.0293)': of a call, and of its kernels alone."""
    if row.ms is None:
        return "refused"
    return f"{row.ms:.4f}" + (f" ({row.counters['ns'] / 1e6:.4f})" if row.counters else "")


def _mb(n: int) -> str:
    return f"{n / 1e6:,.3f}"
