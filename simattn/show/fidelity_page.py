"""The page docs/fidelity.md: what was measured, how, and what it says of the simulator."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .fidelity import page

if TYPE_CHECKING:
    from ..analysis.fidelity import Fidelity

HEAD = """\
# The simulator beside the hardware

`make fidelity` measures the grid of workloads on any CUDA machine, into docs/fidelity.json, and makes this page of it; `simattn gpu report
docs/fidelity.json` makes the page again, without a GPU. **Measured** figures came from hardware counters (Nsight Compute, clocks as they were,
caches flushed before each kernel) and from CUDA events (ms: the median of repeated calls, L2 flushed before each). **Counted** figures
are the simulator's closed forms, which equal executed runs to the byte. Nothing was fitted: the blocks come from the names of the kernels that
were launched, or from the libraries' sources; where a library is closed, the page says what was read off the counters.

![Counted against measured bytes](fidelity.png)

## Two counters that are not the same

* **L2 to SM** (`l1tex__m_xbar2l1tex_read_bytes`) is what the SMs received: it fills shared memory and registers. This is what the
  simulator counts when a thread block loads.
* **L2 looked up** (`lts__t_sectors_srcunit_tex_op_read` × 32 B) is what L2 was asked for. Between the SMs and L2 stands a request coalescer
  (the profiler calls it LRC, and counts its "average coalescing rate achieved" in `lrc__average_xbar2gpc_sectors_op_read`): when SMs ask
  for the same line at about the same time, their requests become one. Thread blocks of one head read the same K and V in step, so
  they share. L2 is asked for less than the SMs receive; by how much depends on timing, and no count of an algorithm can say it.
* **SM to L2** (`l1tex__m_l1tex2xbar_write_bytes`) is what the SMs sent: stores, and reductions.

A kernel whose look-ups come out at 0.9 of the counted bytes has not read less. It was lucky in its neighbours.

## What the kernels were found to do

* **triton_flash2** is `sa.flash2` line by line, and moves its bytes: the reads and the writes.
* **flash** (torch SDPA, FlashAttention-2) reads what `flash2` reads, with the blocks that its name gives. It writes far more than its
  output: most likely registers that do not fit, which L1 gives back, for the reads show nothing of it.
* **cudnn** is closed. At 128 rows a thread block its reads agree with `flash2`; that number was read off one workload (16 heads,
  N = 2048, d = 64) and then held for all.
* **efficient** (CUTLASS) reads Q again with each block of keys, for it runs QKᵀ of each block as a whole product. This was found when
  the counter read more than `flash2` does, by just that; its source agrees (`kernel_forward.h` in PyTorch reads `query_ptr` within its
  loop over keys), and so do the counts.
* **unfused** is two products and a softmax, with a mask between where causal; cuBLAS names its tiles.
* **flash** with one query is `split_kv`, with flash-attn's own number of splits; **triton_split_kv** is `sa.split_kv` line by line.
"""

ARTICLE = """\
## The article's tables, measured again

The article that this project answers prints milliseconds at 512, 1,024 and 2,048 tokens without saying on what
([claims 14 and 27](claims.md)). Here is an H100, with the configuration stated. Its first table, standard against flash: batch 16, 8
heads, d = 64, float16, forward. Its second, standard against Flash-Decoding: one query, batch 1, 16 heads, d = 128, float16."""
LENGTHS = (512, 1024, 2048)


def report(fidelity: "Fidelity") -> str:
    """The whole page."""
    return page(fidelity, HEAD, "\n".join(_article(fidelity)))


def _article(fidelity: "Fidelity") -> Iterator[str]:
    yield ARTICLE
    yield ""
    yield "| | N | unfused, ms | flash, ms | time saved | triton twin, ms |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for title, queries, batch, d, twin in (("prefill", None, 16, 64, "triton_flash2"), ("one query", 1, 1, 128, "triton_split_kv")):
        for n in LENGTHS:
            ms = {
                row.kernel: row.ms for row in fidelity.rows
                if (row.workload.n_k, row.workload.n_q, row.workload.batch, row.workload.d, row.workload.kv_heads, row.workload.backward)
                == (n, queries or n, batch, d, 8 if queries is None else 16, False) and row.ms is not None
            }  # fmt: skip
            if {"unfused", "flash", twin} <= ms.keys():
                saved = 1 - ms["flash"] / ms["unfused"]
                yield f"| {title} | {n:,} | {ms['unfused']:.4f} | {ms['flash']:.4f} | {saved:.0%} | {ms[twin]:.4f} |"
    yield ""
    yield "With one query these kernels last some tens of microseconds, and what is timed is launching them as much as running them."
