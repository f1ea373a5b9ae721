"""Checks of arguments that every part of the layer makes, and the diagnostic they may leave."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

# An array, or None where something else says that there is none (no predictions, no design, no such route). Whoever
# reads one has asked that first, which a type checker cannot follow from one object to the next: hence Any.
OptionalArray = Any


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a short stable `code` for programs, a `message` that says what was seen and what to do.

    `severity` is "note", or "warning" for what makes the numbers doubtful: reports begin with it.
    """

    code: str
    message: str
    severity: str = "note"

    def __str__(self) -> str:
        return self.message


ALTERNATIVES = ("two-sided", "larger", "smaller")


def check_level(level: float) -> float:
    """`level`, or ValueError if it is no fraction."""
    if isinstance(level, bool) or not isinstance(level, Real):
        raise ValueError(f"level got {level!r}; pass a number in (0, 1), such as 0.95.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}; write 0.95 for 95%.")
    return level


def check_alternative(alternative: str) -> None:
    """ValueError if `alternative` is none of the known ones."""
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative got {alternative!r}; known are {', '.join(map(repr, ALTERNATIVES))}.")


def sum_is_finite(values: np.ndarray) -> bool:
    """No value is NaN or infinite; also False where values near the largest float overflow, so count after a False."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()))
