"""Ctrl-C and closed pipes: the command line ends with a line, or without a word, and never with a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import simattn as sa

COMMAND = [sys.executable, "-m", "simattn"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="on Windows no test can press Ctrl-C for one process alone")
INTERRUPTED = (130, "simattn: interrupted\n")


def interrupted(tmp_path, script):
    """What `python -m simattn` gives when SIGINT comes where the script, run before it, sends it."""
    (tmp_path / "sitecustomize.py").write_text(f"import os, signal, sys\n{script}\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = ["compare", "--n", "64", "--save", "x.png"]
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".part", ".png")]
    return done.returncode, done.stderr


HOOK = """
class Hook:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Hook())
"""


@pytest.mark.parametrize(
    "module",
    [
        "numpy",
        "simattn.workbench.compare",
        "typer",
        "rich.table",
        "simattn.cli.compare",
        "matplotlib",
        "matplotlib.backends.backend_agg",
    ],
)
def test_ctrl_c_while_something_loads(tmp_path, module):
    """From NumPy, which the package loads first, to matplotlib, which draws at the end: one line, exit code 130, no file."""
    assert interrupted(tmp_path, HOOK.format(name=module)) == INTERRUPTED


def test_ctrl_c_that_an_import_makes_an_error_of(tmp_path):
    """Some extension modules say that their initialisation failed: it was Ctrl-C all the same."""
    hook = HOOK.format(name="matplotlib").replace(
        "os.kill(os.getpid(), signal.SIGINT)",
        "\n            try:\n                raise KeyboardInterrupt\n            except KeyboardInterrupt as ctrl_c:\n"
        "                raise ImportError('initialization failed') from ctrl_c",
    )
    assert interrupted(tmp_path, hook) == INTERRUPTED


AUDIT = """
def audit(event, arguments):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(audit)
"""


def test_ctrl_c_before_the_figure_has_its_name(tmp_path):
    """At the last moment of writing: the temporary file is removed."""
    assert interrupted(tmp_path, AUDIT) == INTERRUPTED


def test_ctrl_c_during_a_run(tmp_path):
    """A run of minutes says so, and Ctrl-C ends it."""
    process = subprocess.Popen(
        [*COMMAND, "compare", "--n", "30000", "--algorithms", "flash2"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert "this takes about" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err, out) == (*INTERRUPTED, "")


def test_ctrl_c_in_a_destructor(tmp_path):
    """Python would print such a KeyboardInterrupt, and go on."""
    script = "class X:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n        [0 for _ in range(1000)]\n"
    assert (
        interrupted(tmp_path, script + HOOK.replace("os.kill(os.getpid(), signal.SIGINT)", "X()").format(name="matplotlib"))
        == INTERRUPTED
    )


def test_importing_leaves_signals_alone():
    """Only the command line takes SIGINT: not a script that imports the package, and not one that calls its main."""
    code = (
        "import signal, sys, simattn, simattn.cli\n"
        "try: simattn.cli.main(['machines'])\nexcept SystemExit: pass\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.unraisablehook is sys.__unraisablehook__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"


def test_a_background_job_is_not_interrupted():
    """Where the shell ignores SIGINT, so does the command."""
    done = subprocess.run(
        [*COMMAND, "--version"], capture_output=True, text=True, check=False, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{sa.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["machines"], ["machines", "--json"], ["compare", "--n", "32"], ["--help"], ["claims", "26", "--markdown"]]
)
def test_a_closed_pipe_ends_quietly(arguments):
    """As under `| head -1`: nothing on stderr, exit code 0."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.communicate()[1] == ""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["machines"], ["machines", "--json"], ["--help"]])
def test_a_full_disk_under_stdout_is_said(arguments):
    """What cannot be written is one line and exit code 2, not a complaint of Python's at its end."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "simattn: the output was not written: No space left on device\n")
