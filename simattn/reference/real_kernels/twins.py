"""How the Triton twins of `simattn/gpu/twins` are launched: said once, for what launches them and for what counts them."""

ROOMY = 227 * 1024  # an H100's shared memory a thread block, in bytes
FLASH2_ROWS = SPLIT_KV_KEYS = 128
FEWEST_ROWS, MOST_ROWS = 16, 64  # of split_kv's tile: the fewest that tensor cores multiply, the most that it packs


def flash2_keys(d: int, shared_memory: int) -> int:
    """Bc, for heads of width d: the fastest that was measured on an H100; shorter where a GPU has less shared memory than one."""
    return 128 if d > 64 and shared_memory >= ROOMY else 64


def split_kv_rows(rows: int) -> int:
    """Br that holds all queries of a group."""
    return max(FEWEST_ROWS, 1 << (rows - 1).bit_length())
