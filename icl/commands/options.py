"""Options that commands share, a field each: how files are read, and which model answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from icl.commands.number import PositiveNumber
from icl.tables.reading import Reading, read_words

# What the estimators call their arguments -> the options of the command.
_OPTIONS = {
    "n_estimators": "--members",
    "max_rows": "--max_rows",
    "memory_gb": "--memory_gb",
    "companions": "--companions",
    "time_budget": "--time_budget",
    "device=": "--device ",
    "table=icl.impute(table)": "--missing impute",
    "missing='patterns'": "--missing patterns",
    "rows of table=": "rows of the table",
    "features=[...]": "--features",
    "features=": "--features",
    "holdout=": "--holdout FILE",
}

OF_MODEL = ("checkpoint", "quality", "members", "max_rows", "memory_gb", "companions", "time_budget", "device")
"""Options that only the in-context model takes."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Reading):
    """Which in-context model answers, and how files are read."""

    checkpoint: str | None = None
    """Name of a shipped checkpoint or path of a release folder; default: the best one shipped."""
    quality: Literal["fast", "default", "best"] = "default"
    """Members, companions and how these are blended, in one word."""
    members: PositiveInt | Literal["auto"] = "auto"
    """Guises of the table that are averaged; cost grows with it. "auto" is what the quality says."""
    seed: NonNegativeInt = 0
    """Of members and folds."""
    max_rows: PositiveInt | Literal["auto"] = "auto"
    """Labelled rows that the network sees at most; cost grows with the square. Companions learn from all. "auto" is
    2,500 of more than 5,000 rows, 10,000 without companions."""
    memory_gb: PositiveNumber = 2.0
    """Memory that predictions may take, in gigabytes."""
    companions: str = "auto"
    """Classical models whose predictions the network sees too: ridge, kernel, trees, boosting, separated by commas;
    "none" for the network alone, "auto" for those that suit the number of rows."""
    time_budget: PositiveNumber | None = None
    """Seconds that the work may take: members, rows before the network and companions are left out until it fits."""
    device: str = "auto"
    """Where the network runs: auto, cpu or cuda."""

    def estimator(self) -> dict[str, Any]:
        """Arguments of the estimators."""
        return {
            "checkpoint": self.checkpoint,
            "quality": self.quality,
            "n_estimators": self.members,
            "random_state": self.seed,
            "max_rows": self.max_rows,
            "memory_gb": self.memory_gb,
            "companions": self._companions(),
            "time_budget": self.time_budget,
            "device": self.device,
        }

    def beside_defaults(self, *names: str) -> dict[str, tuple[Any, Any]]:
        """Some options with their defaults, as `refuse_idle` takes them."""
        return {name: (getattr(self, name), getattr(type(self), name)) for name in names}

    def _companions(self) -> str | tuple[str, ...]:
        if self.companions in ("auto", "none"):
            return "auto" if self.companions == "auto" else ()
        return read_words(self.companions)


def refuse_idle(why: str, **options: tuple[Any, Any]) -> None:
    """ValueError for options that somebody gave where they do nothing.

    Args:
        why: they do nothing, as "without --equalize".
        options: what was given, and the default, by name.
    """
    if idle := [f"--{name}" for name, (got, default) in options.items() if got != default]:
        one = len(idle) == 1
        said = f"{' and '.join(idle)} {'does' if one else 'do'} nothing {why}"
        raise ValueError(f"{said}; leave {'it' if one else 'them'} out.")


def as_options(message: str) -> str:
    """A message of the estimators in the words of the command line."""
    names = "|".join(map(re.escape, _OPTIONS))
    return re.sub(rf"(?<![-\w])({names})(?!\w)(?!_)", lambda name: _OPTIONS[name[1]], message)
