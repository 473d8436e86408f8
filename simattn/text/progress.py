"""How work that takes long says what it does now; `Patient` is one such, on a terminal."""

from collections.abc import Callable

Progress = Callable[[str], None]
