"""What several tests use: small machines, drawn inputs, and an independent attention in a few lines. And which simattn is tested."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import simattn as sa
from simattn import kernels
from simattn.workbench.cases import Forward
from simattn.workbench.options import Options

settings.register_profile("simattn", deadline=None, max_examples=60)
settings.load_profile("simattn")

CHECKOUT = Path(__file__).resolve().parent.parent / "simattn"
PACKAGE = Path(sa.__file__).resolve().parent
FROM_CHECKOUT = PACKAGE == CHECKOUT
if not FROM_CHECKOUT:
    os.environ["PYTHONSAFEPATH"] = "1"  # so that a Python that a test starts in the checkout imports the same package

FORWARD = {name: sa.algorithms[name] for name in kernels.FORWARD}  # the exact algorithms of any Q, K, V

ROOMY = sa.Machine(name="roomy", sram=1 << 30, sms=4)


def pytest_report_header():
    return f"simattn {sa.__version__}, {'imported from the checkout' if FROM_CHECKOUT else 'as installed'}: {PACKAGE}"


def pytest_configure():
    """Refuse a package that was installed before the checkout changed; and the checkout itself where `make` asks for the wheel."""
    if FROM_CHECKOUT and "SIMATTN_INSTALLED" in os.environ:
        raise pytest.UsageError(f"simattn was imported from {PACKAGE}, not as it was installed: unset PYTHONPATH")
    changed = {} if FROM_CHECKOUT else files(PACKAGE).items() ^ files(CHECKOUT).items()
    if changed:
        raise pytest.UsageError(
            f"{PACKAGE} is not this checkout's: {', '.join(sorted({name for name, _ in changed}))}. "
            "`make test` installs it again; `make dev` has it imported from the checkout"
        )


def files(package):
    """The content of every file of a package, by its path."""
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def roomy() -> sa.Machine:
    return ROOMY


@pytest.fixture
def substitute(monkeypatch):
    """Puts a function in an algorithm's place, or beside the algorithms, until the test ends."""
    return lambda name, function: monkeypatch.setitem(sa.algorithms, name, function)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def judged(run, Q, K, V, **options):
    """The verdict on a run of `sa.attention` with these options."""
    case = Forward(Q, K, V, Options.of(Q, K, **options))
    return case.judge(run, *case.bounded())


def plain_attention(Q, K, V, *, causal=False, offset=None, scale=None):
    """softmax(QKᵀ·scale)V row by row in float64, keys that are not seen left out; 0 and −∞ for a row that sees none."""
    Q, K, V = (np.asarray(x, np.float64) for x in (Q, K, V))
    offset = len(K) - len(Q) if offset is None else offset
    scale = Q.shape[1] ** -0.5 if scale is None else scale
    O, lse = np.zeros((len(Q), V.shape[1])), np.full(len(Q), -np.inf)
    for i, q in enumerate(Q):
        n = min(max(i + offset + 1, 0), len(K)) if causal else len(K)
        if n:
            s = K[:n] @ q * scale
            p = np.exp(s - s.max())
            O[i], lse[i] = p @ V[:n] / p.sum(), s.max() + np.log(p.sum())
    return O, lse
