"""The command line: `simattn compare`, `explore`, `scenario`, `machines`, `reproduce`, `claims` and `gpu`."""

import os
import sys
from typing import NoReturn

from .. import interrupt

FAILED = 2


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line, and exit.

    0: done. 1: an algorithm that was asked for by name did not fit, or a scenario did not equal its closed form. 2: what was asked for cannot be done, which one line on stderr
    explains. 130: Ctrl-C. Where the reader of a pipe closes it, the command ends without a word.
    """
    try:
        from .app import run  # noqa: PLC0415 - what is slow to load loads here, where Ctrl-C is met

        interrupt.raises()
        code = run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = interrupt.CODE
    except (BrokenPipeError, SystemExit):  # rich and typer make an exit of a closed pipe
        code = _unwritten()
    except OSError as error:  # of the last flush
        code = _unwritten(f"the output was not written: {error.strerror or error}")
    interrupt.ignored()  # all is done
    if code == interrupt.CODE:  # typer's, too, which catches KeyboardInterrupt
        interrupt.end()
    sys.exit(code)


def _unwritten(why: str | None = None) -> int:
    """The exit code of a command whose output has nowhere to go; what is left of it is dropped, or Python would complain at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if why is None:
        return 0
    os.write(2, f"simattn: {why}\n".encode())
    return FAILED
