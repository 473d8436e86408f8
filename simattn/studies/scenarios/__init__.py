"""Whole runs of named models, generation and training, by closed form; `play("long-text")`."""

from .models import SCENARIOS, Model, Scenario, scenario
from .result import Played, play
from .ways import ways

__all__ = ["SCENARIOS", "Model", "Played", "Scenario", "play", "scenario", "ways"]
