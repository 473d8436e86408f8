"""What mypy says of a learner's code. `make lint` checks it: an error that is expected here and not found is one (`warn_unused_ignores`)."""

from typing import assert_type

import simattn as sa


def counts_are_numbers(run: sa.Run) -> None:
    """Each count of a run has a type, and a name that no run has is an error."""
    for count in (run.hbm_read, run.hbm_write, run.sram_read, run.sram_write, run.peak_sram, run.programs, run.hbm_footprint):
        assert_type(count, int)
    for work in (run.matmul_flops, run.vector_flops, run.exps, run.kernels["flash2"].hbm_read, run.tensors["K"].hbm_read):
        assert_type(work, int)
    _ = run.hbm_reed  # type: ignore[attr-defined]
    _ = run.kernels["flash2"].hbm_reed  # type: ignore[attr-defined]


def a_machine_gives_runs(machine: sa.Machine, recorded: sa.Recording) -> None:
    """Running, counting and recording have types, and so have their results."""
    x = sa.spec((64, 32))
    assert_type(machine.count(sa.flash2, x, x, x), sa.Run)
    assert_type(machine.record(sa.flash2, x, x, x).counts, sa.Run)
    assert_type(recorded.run(), sa.Run)
    machine.launch(sa.flash2)  # type: ignore[attr-defined]
    _ = recorded.cuonts  # type: ignore[attr-defined]


def names_of_sa() -> None:
    """A name that simattn does not export is an error, though names load when they are first used."""
    _ = sa.nonsense  # type: ignore[attr-defined]
    _ = sa.flash3  # type: ignore[attr-defined]
