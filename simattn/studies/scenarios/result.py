"""A scenario's ways side by side: whole runs by closed form, held against executions of a small one."""

from dataclasses import asdict, dataclass
from typing import Any

from ...hierarchy.catalogue import machine as catalogue_machine
from ...hierarchy.counts import COUNTS, KernelCounts
from ...hierarchy.errors import SramOverflow
from ...hierarchy.machine import Machine
from ...hierarchy.run import Run
from ...reference.forms.lines import over
from ...text.exported import Exported
from ...text.progress import Progress
from ...text.shown import Shown
from .call import Call, Counted
from .models import Scenario, scenario
from .ways import Way, ways


@dataclass(frozen=True)
class Row:
    """One way: its counts by phase over all layers, sequences and steps, what it holds in HBM, in bytes; or why it does not run.

    held: the most at once. footprint: the largest of one launch's, beside its inputs and outputs.
    """

    way: Way
    generated: int
    phases: dict[str, KernelCounts] | None = None
    held: int | None = None
    footprint: int | None = None
    failure: str | None = None

    @property
    def total(self) -> KernelCounts | None:
        return None if self.phases is None else sum(self.phases.values(), KernelCounts())

    @property
    def moved(self) -> int | None:
        """Bytes read and written."""
        return None if self.total is None else self.total.hbm_read + self.total.hbm_write

    @property
    def a_token(self) -> float | None:
        """HBM bytes a generated token, the prompt's own not counted in; in training, a token of the sequences."""
        if self.phases is None:
            return None
        steps = self.phases.get("decode", self.total)
        return None if steps is None else (steps.hbm_read + steps.hbm_write) / self.generated

    @property
    def intensity(self) -> float | None:
        """Matmul FLOPs a byte of HBM traffic."""
        return None if self.total is None or not self.moved else self.total.matmul_flops / self.moved

    def to_dict(self, first: int | None) -> dict[str, Any]:
        total = self.total
        return {
            "way": self.way.name,
            **{_field(name): None if total is None else getattr(total, name) for name in (*COUNTS, "peak_sram")},
            "hbm_over_first": None if not first or self.moved is None else self.moved / first,
            "kv_cache_bytes": self.way.cache,
            "kv_cache_bytes_a_token": self.way.a_token,
            "hbm_footprint_bytes": self.footprint,
            "hbm_held_bytes": self.held,
            "hbm_bytes_a_generated_token": self.a_token,
            "matmul_flops_a_hbm_byte": self.intensity,
            "error": self.failure,
            "phases": {phase: {_field(name): getattr(k, name) for name in COUNTS} for phase, k in (self.phases or {}).items()},
        }


@dataclass(frozen=True)
class Check:
    """The small scenario that was executed, in how many runs, and the ways of which some run did not equal its closed form."""

    scenario: Scenario
    runs: int
    unequal: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**workload(self.scenario), "runs": self.runs, "equal": not self.unequal, "unequal": list(self.unequal)}


@dataclass(frozen=True, repr=False)
class Played(Shown, Exported):
    """A scenario on a machine. Prints as a table; `to_dicts()` gives its rows, `to_dict()` all of it, as plain data."""

    _table = "simattn.studies.scenarios.table:scenario_table"

    scenario: Scenario
    machine: Machine
    rows: tuple[Row, ...]
    check: Check

    @property
    def failed(self) -> bool:
        """Whether a way does not fit, or an execution did not equal its closed form."""
        return bool(self.check.unequal) or any(row.failure for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Machine, scenario, rows and the check, for JSON."""
        model = asdict(self.scenario.model)
        return {
            "machine": {name: value for name, value in asdict(self.machine).items() if name != "sources"},
            "scenario": {"name": self.scenario.name, "model": model, **workload(self.scenario)},
            "counted_by": "closed form",
            "executed": self.check.to_dict(),
            "results": self._records(),
        }

    def _records(self) -> list[dict[str, Any]]:
        return [row.to_dict(self.rows[0].moved) for row in self.rows]


def play(what: Scenario | str, machine: Machine | str | None = None, progress: Progress = lambda _: None) -> Played:
    """Every way of a scenario, by closed form, at full size; and the same launches of a small one, executed."""
    s = scenario(what) if isinstance(what, str) else what
    gpu = catalogue_machine(s.machine if machine is None else machine) if not isinstance(machine, Machine) else machine
    rows = []
    for way in ways(s):
        progress(way.name)
        rows.append(evaluated(s, way, gpu))
    return Played(s, gpu, tuple(rows), checked(s.reduced(), gpu, progress))


def evaluated(s: Scenario, way: Way, machine: Machine) -> Row:
    """A way's counts by closed form, over all layers."""
    try:
        counted = [(call, call.form(machine, s.blocks)) for call in way.calls]
    except SramOverflow as overflow:
        return Row(way, s.generated, failure=str(overflow))
    held = way.kept + max(call.beside + call.scratch * one.footprint for call, one in counted)
    footprint = max(call.scratch * one.footprint for call, one in counted)
    failure = None
    if machine.hbm is not None and held > machine.hbm:
        failure = f"{held / 1e9:,.1f} GB held at once, but {machine.title or machine.name} has {machine.hbm / 1e9:,.0f} GB of HBM"
    return Row(way, s.generated, phases(s, counted), held, footprint, failure)


def phases(s: Scenario, counted: list[tuple[Call, Counted]]) -> dict[str, KernelCounts]:
    """The sum over launches and layers, by phase."""
    sums: dict[str, KernelCounts] = {}
    for call, one in counted:
        sums[call.phase] = sums.get(call.phase, KernelCounts()) + over(s.model.layers * call.times, one.total)
    return sums


def checked(small: Scenario, machine: Machine, progress: Progress = lambda _: None) -> Check:
    """Execute every launch of a scenario, and hold all counts of each against its closed form."""
    runs: dict[tuple[Any, ...], Run] = {}
    unequal = []
    for way in ways(small):
        progress(f"executing {way.name}")
        for call in way.calls:
            try:
                form = call.form(machine, small.blocks)
            except SramOverflow:
                continue  # its row says so
            launches = {(one.algorithm, one.problem, one.steps, *form.blocks.values()): one for one in call.each()}
            runs |= {key: one.run(machine, form.blocks) for key, one in launches.items() if key not in runs}
            executed = call.counted(runs[key] for key in launches)
            if (executed.kernels, executed.footprint) != (form.kernels, form.footprint):
                unequal.append(way.name)
    return Check(small, len(runs), tuple(dict.fromkeys(unequal)))


def workload(s: Scenario) -> dict[str, int]:
    """The numbers of a scenario, as plain data."""
    return {name: getattr(s, name) for name in ("batch", "turns", "prompt", "steps")} | {"layers": s.model.layers}


def _field(name: str) -> str:
    return f"{name}_bytes" if name.startswith(("hbm", "sram")) else "peak_sram_bytes" if name == "peak_sram" else name
