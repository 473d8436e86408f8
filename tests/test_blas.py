"""The machine runs BLAS on one thread, and leaves it as it was."""

import threading

import numpy as np
import pytest
from conftest import ROOMY
from threadpoolctl import ThreadpoolController, threadpool_limits

import simattn as sa
from simattn.hierarchy import blas

X = np.ones((4, 4), np.float32)


def threads():
    """How many threads each BLAS library would use now."""
    return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]


def copy_kernel(gpu, X, *, within=lambda: None):
    O = gpu.empty(X.shape, name="O")
    for sram, i in gpu.launch("copy", sa.blocks(X.shape[0], 2)):
        within()
        sram.store(O[i], sram.load(X[i]))
    return O


@pytest.fixture(autouse=True)
def several():
    """BLAS with three threads, whatever the environment says."""
    with threadpool_limits(3, user_api="blas"):
        if not threads():
            assert "openblas" not in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]  # that one it must find
            pytest.skip("no BLAS library here of which threadpoolctl knows")
        yield
        assert set(threads()) == {3}


def test_a_run_uses_one_thread_and_puts_back_what_was():
    """Inside a run each BLAS library has one thread, and after it three, as before."""
    seen = []
    ROOMY.run(copy_kernel, X, within=lambda: seen.extend(threads()))
    assert set(seen) == {1}
    assert set(threads()) == {3}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, sa.SramOverflow])
def test_what_was_is_put_back_after_an_error(error):
    """An exception, an interruption with Ctrl-C, or an overflow at every block size leaves BLAS as it was."""

    def fail(gpu, X, *, Br):
        assert set(threads()) == {1}
        raise error("stop")

    with pytest.raises(error, match="stop"):
        ROOMY.run(fail, X)
    assert set(threads()) == {3}


def test_runs_within_runs_keep_one_thread_until_the_last_ends():
    """A run that an algorithm starts itself does not give the threads back to the run around it."""
    seen = []

    def inner():
        ROOMY.run(copy_kernel, X, within=lambda: seen.extend(threads()))
        seen.extend(threads())

    ROOMY.run(copy_kernel, X, within=inner)
    assert set(seen) == {1}
    assert set(threads()) == {3}


@pytest.mark.parametrize("first_out", ["the first", "the second"])
def test_runs_in_several_threads_put_back_the_right_number(first_out):
    """Of two runs at once, whichever ends first, both have one thread to their end, and then BLAS has its three again."""
    first_runs, both_run, one_has_ended = (threading.Event() for _ in range(3))
    seen, after = [], []

    def run(name):
        def within():
            (first_runs if name == "the first" else both_run).set()
            assert both_run.wait(30)
            assert name == first_out or one_has_ended.wait(30)
            seen.append(threads())

        if name == "the second":
            assert first_runs.wait(30)
        ROOMY.run(copy_kernel, X[:2], within=within)
        after.append(threads())
        one_has_ended.set()

    pair = [threading.Thread(target=run, args=(name,)) for name in ("the first", "the second")]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(60)
    layers = {getattr(x, "threading_layer", None) for x in ThreadpoolController().select(user_api="blas").lib_controllers}
    if "openmp" not in layers:  # where each thread has a number of its own
        assert [set(x) for x in seen] == [{1}, {1}]
        assert [set(x) for x in after] == [{1}, {3}]
    assert set(threads()) == {3}


def test_a_number_that_was_set_meanwhile_stays():
    """Who gives BLAS another number of threads during a run, and ends the run with it, finds it after the run."""

    def within():
        for library in ThreadpoolController().select(user_api="blas").lib_controllers:
            library.set_num_threads(2)

    ROOMY.run(copy_kernel, X, within=within)
    assert set(threads()) == {2}
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(3)


def test_another_thread_may_run_first():
    """A run in another thread than the one that set BLAS's threads is limited, and so is a run here while that thread still lives."""
    ended, leave, seen = threading.Event(), threading.Event(), []

    def elsewhere():
        ROOMY.run(copy_kernel, X, within=lambda: seen.extend(threads()))
        ended.set()
        leave.wait(30)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert ended.wait(30)
    ROOMY.run(copy_kernel, X, within=lambda: seen.extend(threads()))
    assert set(seen) == {1}
    assert set(threads()) == {3}
    leave.set()
    thread.join(30)


def test_the_libraries_are_looked_for_once(monkeypatch):
    """Finding BLAS takes longer than a small run, so no run after the first looks for it again."""
    ROOMY.run(copy_kernel, X)

    def look(*_):
        raise AssertionError("looked for the libraries again")

    monkeypatch.setattr(blas, "ThreadpoolController", look)
    ROOMY.run(copy_kernel, X)
