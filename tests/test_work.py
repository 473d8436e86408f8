"""What a comparison takes is estimated before it is begun."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simattn as sa
from simattn.hierarchy import memory
from simattn.workbench import work
from simattn.workbench.compare import compare
from simattn.workbench.work import HOUR, estimate

A100 = sa.machine("a100-40gb")
NAMES = ("naive", "online_softmax", "flash1", "flash2", "split_kv")


@given(
    n=st.integers(1, 3000), heads=st.sampled_from([1, 2, 6]), d=st.sampled_from([8, 64]), dtype=st.sampled_from(["float16", "float64"]),
    causal=st.booleans(), backward=st.booleans(),
)  # fmt: skip
def test_more_work_is_estimated_to_take_longer(n, heads, d, dtype, causal, backward):
    """Twice the tokens take more time and no less memory; every stage that `compare` announces has its seconds."""
    names = ("naive", "flash1", "flash2") if backward else NAMES

    def of(n):
        return estimate(names, sa.Problem(n_q=n, n_k=n, heads=heads, d=d, dtype=dtype, causal=causal), A100, backward=backward)

    small, large = of(n), of(2 * n)
    assert list(small.stages) == [*names, "float64", "reference"]
    assert large.seconds > small.seconds > 0
    assert large.bytes >= small.bytes


def test_the_stages_are_those_of_a_comparison():
    """`compare` announces what the estimate names, in its order."""
    said = []
    x = np.ones((1, 1, 16, 8), np.float16)
    compare(A100, NAMES, x, x, x, progress=said.append)
    assert said == list(estimate(NAMES, sa.Problem.of(x, x, x), A100).stages)


@pytest.mark.parametrize("n", [10**7, 10**12, 10**20])
def test_what_is_beyond_all_measure_is_estimated_at_once(n):
    """Float64 attention alone is too much: no algorithm's formula is asked, whose row blocks nobody could count."""
    asked = estimate(["flash1", "nothing that has a form"], sa.Problem(n_q=n, n_k=n, d=64), A100)
    assert asked.least
    assert asked.seconds > HOUR
    assert list(asked.stages) == ["float64"]


def test_an_algorithm_that_will_not_fit_takes_no_time():
    """Where S is beyond the GPU's memory, or no block fits on chip, the run ends before it begins; naive is then the reference."""
    long = estimate(["naive", "flash2"], sa.Problem(n_q=65536, n_k=65536, d=64, heads=2), sa.machine("t4"))
    assert long.stages["naive"] == 0 < long.stages["flash2"]
    tiny = estimate(["flash2"], sa.Problem(n_q=64, n_k=64, d=64), sa.Machine(name="tiny", sram=64))
    assert tiny.stages["flash2"] == 0


def test_a_window_and_one_query_take_what_they_see():
    """The truth's share follows the keys that are seen: a window of 256 keys of 65,536, or one query."""
    whole, near, one = (
        estimate([], sa.Problem(n_q=n_q, n_k=65536, d=64, window=window), A100).stages["float64"]
        for n_q, window in ((65536, None), (65536, (255, 0)), (1, None))
    )
    assert near < whole / 20
    assert one < whole / 1000


def test_python_is_told_too(monkeypatch):
    """sa.compare raises MemoryError, before it runs anything, for what this computer cannot hold, and says what would."""
    x = np.ones((1, 1, 3000, 64), np.float16)
    monkeypatch.setattr(work, "available", lambda: 10**8)
    with pytest.raises(
        MemoryError, match=r"about 0\.\d GB of this computer's memory, of which 0\.1 GB are free; give fewer tokens"
    ):
        sa.compare("a100-40gb", ["flash2"], x, x, x)
    monkeypatch.setattr(work, "available", lambda: None)
    assert sa.compare("a100-40gb", ["flash2"], x[:, :, :64], x[:, :, :64], x[:, :, :64])["flash2"].run is not None


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch):
    """What is free is what the system says, or what the container has left, its page cache included; None where nobody says."""
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 8000 kB\n")
    assert memory.available() == 8_192_000
    for limit, left in (("max", 8_192_000), ("5000000", 4_100_000), ("99000000", 8_192_000)):
        for name, text in (("max", limit), ("current", "1000000"), ("stat", "anon 5\nfile 100000\n")):
            (tmp_path / f"memory.{name}").write_text(text)
        assert memory.available() == left
