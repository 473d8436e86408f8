"""Ctrl-C at the command line: one line, not a traceback from wherever it came. A process that only imports the package is left alone."""

import os
import signal
import sys

LINE, CODE = b"simattn: interrupted\n", 130


def is_command() -> bool:
    """Whether this process is `simattn` or `python -m simattn`."""
    asked = sys.orig_argv
    called = os.path.basename(sys.argv[0] if sys.argv else "")  # noqa: PTH119 - pathlib is slow to load, and this comes first
    return os.path.splitext(called)[0] == "simattn" or ("-m", "simattn") in zip(asked, asked[1:])  # noqa: B905, PTH122, RUF007


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


def end() -> None:
    """Say so, and exit. Where the process is the command line it ends here: after an interrupted `exec` Python would kill itself instead."""
    os.write(2, LINE)
    if sys.unraisablehook is _end_if_interrupted:
        os._exit(CODE)
    sys.exit(CODE)


def _end(*_: object) -> None:
    os.write(2, LINE)
    os._exit(CODE)


def _end_if_interrupted(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python prints a KeyboardInterrupt in a destructor, and goes on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _end()
    sys.__unraisablehook__(unraisable)


loading()
