"""The page docs/fidelity.md: how was measured, what it says of the kernels, and the article's tables again."""

from collections.abc import Iterator

from .page import milliseconds, page
from .report import Fidelity

HEAD = """\
`make fidelity` measures the grid of workloads on any CUDA machine, into docs/fidelity.json (what is there already of the same device and
versions stays: delete it to measure everything again), and makes this page of it; `simattn gpu report docs/fidelity.json` prints the page
again, without a GPU. **Measured** figures came from hardware counters (Nsight Compute, clocks as they were, caches flushed before each kernel) and from
CUDA events (the median of repeated calls, L2 flushed before each; of short calls the least of three such medians, taken apart, for a busy host launches
late). **Counted** figures are the simulator's closed forms, which equal executed runs to the byte. Where a kernel was found to move more or
less than the algorithm, the difference is added, and the column *simulated as* says so.

![Counted against measured bytes](fidelity.png)

## What is compared

* **L2 to SM** (`l1tex__m_xbar2l1tex_read_bytes`) is what the SMs received: it fills shared memory and registers. This is what the
  simulator counts when a thread block loads. The counter stands behind L1, so where it equals the count to the byte, L1 gave nothing back: these
  kernels load around it.
* **SM to L2** (`l1tex__m_l1tex2xbar_write_bytes`) is what the SMs sent: stores, and reductions.
* **L2 looked up** (`lts__t_sectors_srcunit_tex_op_read` × 32 B) is what L2 was asked for, and no count of an algorithm can say it. Between the SMs and
  L2 stands a request coalescer (the profiler calls it LRC, and counts its "average coalescing rate achieved" in
  `lrc__average_xbar2gpc_sectors_op_read`): when SMs ask for the same line at about the same time, their requests become one. Thread blocks of
  one head that run in step share much; those that a causal mask sets apart share little. A kernel whose look-ups are 0.9 of the counted bytes has
  not read less.
* **DRAM** is what missed L2. A flash kernel reads its inputs from DRAM about once, whatever its blocks, while K and V of the heads at work fit in L2;
  where they do not, many times. Written are only the lines that left L2 before the kernel ended, so less than the outputs can be
  seen. The papers' "HBM accesses", and the simulator's, are the fills of SRAM. Of DRAM, FlashAttention saves S and P.
"""

FOUND = """\
## What the kernels were found to do

* **triton_flash2** is `sa.flash2` in Triton, and moves its bytes, read and written. Where blocks do not divide the lengths, the tensor memory
  accelerator fetches whole tiles, and the zeros beyond the last row are counted among the bytes that arrive. *Whole tiles* adds them.
* **flash** (torch SDPA, FlashAttention-2) reads what `flash2` reads, with the blocks that its name gives. It writes far more than its
  output: what does not fit into 255 registers a thread spills to local memory, which L1 writes through to L2, and gives back by itself, for
  hardly any of it is read. With batch 4, 32 heads, N = 4,096, d = 64, not causal, the SMs sent 517,996,544 bytes: 69,206,016 of O and lse, and
  448,790,528 of spills (`l1tex__t_bytes_pipe_lsu_mem_local_op_st`, read once, beside the grid). What it writes beyond its output with one query, and
  backward, was not looked into.
* **cudnn** is closed, and its blocks are what was fitted. 128 rows a thread block were read off a workload that is not in the grid (16 heads,
  N = 2,048, d = 64), and held for all. Where no block divides the lengths it, too, fetches whole tiles; 1,000 queries on 3,001 keys with d = 64 told
  that they are of 128 keys, and those with d = 128 agreed. Its name says `64x128x64_4x1x1`, most likely the product of one group of warps,
  two of which would make the 128 rows; and that no thread blocks form a cluster (`cga1x1x1`), so none share loads. With one query it runs another
  kernel, which is measured only.
* **efficient** (CUTLASS) reads Q again with each block of keys, for it runs QKᵀ of each block as a whole product: *Q each time*. This was found when
  the counter read more than `flash2` does, by just that; its source agrees (`kernel_forward.h` in PyTorch reads `query_ptr` within its
  loop over keys), and so do the counts. Of a block of keys that the causal diagonal cuts it loads only the keys that some row of its 64 sees, so
  the last block is half as long for every other thread block of d = 128. Beside O and lse it writes spills (batch 16, 32 heads, N = 1,024, d = 64:
  73,400,320 bytes sent, 4,194,304 of them to local memory), and lse up to a multiple of its rows.
* **Backward**, flash and cuDNN both read what `flash2_backward` reads without the old dQ: the atomic additions happen in L2, to which float32
  sums cross, and from which nothing comes back. flash names its blocks. cuDNN's 128 keys a thread block were fitted at one workload (batch 16,
  32 heads, N = 1,024, d = 64, causal) and held for the other 19; its rows, and what both write beyond, are not known. torch copies O and dO before its
  flash kernel, since they do not lie as (batch, N, heads, d); *copies* adds them.
* **unfused** is two products and a softmax, with a mask between where causal; cuBLAS names its tiles. Its backward pass is measured only: which
  tile belongs to which product was not worked out.
* **flash** with one query is `split_kv`, with flash-attn's own number of splits. It and **triton_split_kv** read lse, 4 bytes at a time, in sectors
  of 32, which is not counted.
* **DRAM**: one head of 131,072 tokens has 67 MB of K and V at d = 128, and L2 50 MB. All three flash kernels then read them again and again.
"""

ARTICLE = """\
## The article's tables, measured again

The article that this project answers prints milliseconds at 512, 1,024 and 2,048 tokens without saying on what
([claims 14 and 27](claims.md)). Here are some with the configuration stated. Its first table, standard against flash: batch 16, 8
heads, d = 64, float16, forward. Its second, standard against Flash-Decoding: one query, batch 1, 16 heads, d = 128, float16. Milliseconds a call, and in
brackets of its kernels alone."""
LENGTHS = (512, 1024, 2048)


def report(fidelity: Fidelity) -> str:
    """The whole page. What was found stands there for the device that it was found on."""
    found = FOUND if "H100" in str(fidelity.measured_with.get("device")) else ""
    return page(fidelity, f"{HEAD}\n{found}", "\n".join(_article(fidelity)))


def _article(fidelity: Fidelity) -> Iterator[str]:
    yield ARTICLE
    yield ""
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
                times = [milliseconds(rows[kernel]) for kernel in ("unfused", "flash", twin)]
                yield f"| {title} | {n:,} | {times[0]} | {times[1]} | {saved:.0%} | {times[2]} |"
    yield ""
    yield "Where a call takes far longer than its kernels, Python's launches were what was timed: the twins are launched from Python."
