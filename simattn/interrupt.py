"""Ctrl-C at the command line: one line, not a traceback from wherever it came. A process that only imports the package is left alone."""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

LINE = b"simattn: interrupted\n"


def is_command() -> bool:
    """Whether this process is `simattn` or `python -m simattn`."""
    return Path(sys.argv[0] if sys.argv else "").stem == "simattn" or ("-m", "simattn") in itertools.pairwise(sys.orig_argv)


def loading() -> None:
    """While the command line loads, Ctrl-C ends the process at once: there is nothing to put in order."""
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
        sys.unraisablehook = _end_if_interrupted


def raises() -> None:
    """From here on it raises KeyboardInterrupt, so that files and child processes are put in order."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignored() -> None:
    """The work is done or given up: a further Ctrl-C changes nothing."""
    if sys.unraisablehook is _end_if_interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(*_: Any) -> None:
    os.write(2, LINE)
    os._exit(130)


def _end_if_interrupted(unraisable: Any) -> None:
    """Python prints, and goes on after, a KeyboardInterrupt in a destructor."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _end()
    sys.__unraisablehook__(unraisable)


loading()
