"""Published figures: the tables of the article and of the papers that it discusses, each with its unit."""

from ..reproduce.table21 import FLASH_MIB, PYTORCH_MIB

LENGTHS = (512, 1024, 2048)  # of the article's tables

TABLE_1 = "the article's table 1 (no GPU, shape or type given), ms"
STANDARD_1 = {512: 12.3, 1024: 45.8, 2048: 178.6}
FLASH_1 = {512: 7.1, 1024: 22.6, 2048: 87.3}

TABLE_2 = "the article's table 2 (no GPU, shape or type given), ms"
STANDARD_2 = {512: 34.5, 1024: 78.6, 2048: 150.2}
DECODING_2 = {512: 18.2, 1024: 35.1, 2048: 65.9}

CONDITIONS = ("GPU", "what is timed", "batch", "heads", "width of a head", "type")  # needed to repeat a measurement
STATED: dict[str, tuple[str, ...]] = {TABLE_1: (), TABLE_2: ()}

_FLASH = "FlashAttention (Dao et al. 2022, arXiv 2205.14135v2), A100, batch 16, 8 heads, d = 64"
TABLE_18 = f"{_FLASH}, table 18: forward, ms"
PYTORCH_18 = {512: 0.43, 1024: 1.27, 2048: 4.32, 4096: 16.47, 8192: 67.77}
FLASH_18 = {512: 0.18, 1024: 0.68, 2048: 2.40, 4096: 8.42, 8192: 33.54}
TABLE_20 = f"{_FLASH}, table 20: forward + backward, ms"
PYTORCH_20 = {512: 1.18, 1024: 3.67, 2048: 13.22, 4096: 50.44}
FLASH_20 = {512: 0.73, 1024: 2.29, 2048: 7.64, 4096: 30.09, 8192: 118.50}
TABLE_11 = f"{_FLASH}, table 11: forward + backward with dropout and mask, ms"
PYTORCH_11 = {512: 2.35, 1024: 8.29, 2048: 31.75, 4096: 124.19}
FLASH_11 = {512: 0.95, 1024: 2.55, 2048: 9.56, 4096: 37.49, 8192: 147.75}
TABLE_21 = f"{_FLASH}, table 21: memory of forward + backward, MiB"
PYTORCH_21, FLASH_21 = PYTORCH_MIB, FLASH_MIB

FLASH_DECODING = "Flash-Decoding (Dao, Haziza, Massa, Sizov 2023), A100, 16 heads on 2 KV heads, d = 128, batch × keys, µs"
DECODING_US = {  # batch, keys: FlashAttention 2.0.9, Flash-Decoding
    (256, 256): (390.5, 63.4), (64, 1024): (364.8, 77.7), (8, 8192): (529.2, 56.4), (2, 32768): (1156.1, 60.3),
    (1, 65536): (2300.6, 64.4), (1, 131072): (4592.2, 106.6),
}  # fmt: skip
END_TO_END = "Flash-Decoding (Dao, Haziza, Massa, Sizov 2023), in its text: whole models, against FlashAttention-2"
SHORTEST, LONGEST = 1.0, 8.0  # "about 1" on short prompts, "up to 8" on long ones

H100 = "hardware counters of one H100 SXM (no paper; fp16, PyTorch 2.11), batch 4, 16 heads, N = 4,096, d = 64"
H100_HEADS, H100_LENGTH = 4 * 16, 4096
UNFUSED_MS, UNFUSED_DRAM_MB = 4.9208, 4403.1 + 4286.5
SDPA_FLASH_MS, SDPA_FLASH_L2_MB = 0.9262, 2025.5 + 259.0

FLASH_ATTN = "flash-attn 2, flash_fwd_launch_template.h, run_mha_fwd_hdim64: 4 warps on blocks of 128 × 128"
CUDA = "CUDA C++ Programming Guide, technical specifications per compute capability"
THREADS, REGISTERS_A_THREAD = 128, 255

DYNAMIC_CONV = "Pay Less Attention with Lightweight and Dynamic Convolutions (Wu et al. 2019, arXiv 1901.10430): widths, by layer"
WIDTHS = (3, 7, 15, 31)
