"""Checks of arguments that every part of the layer makes, and the diagnostic they may leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


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
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}; write 0.95 for 95%.")
    return level


def check_alternative(alternative: str) -> None:
    """ValueError if `alternative` is none of the known ones."""
    if alternative not in ALTERNATIVES:
        raise ValueError(f"alternative got {alternative!r}; known are {', '.join(map(repr, ALTERNATIVES))}.")


def as_frame(data: Any, name: str) -> pd.DataFrame:
    """`data` as a DataFrame with unique column names."""
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        if not isinstance(data, dict):
            raise ValueError(f"{name}= got a {type(data).__name__}; pass a pandas DataFrame or a dict of columns.")
        data = pd.DataFrame(data)
    if not data.columns.is_unique:
        twice = sorted({str(c) for c in data.columns[data.columns.duplicated()]})
        raise ValueError(f"{name}= has several columns named {twice}; rename them.")
    return data


def require_columns(frame: pd.DataFrame, names: Sequence[str], where: str, purpose: str) -> None:
    """ValueError that lists the columns `frame` lacks and those it has."""
    absent = [name for name in names if name not in frame.columns]
    if absent:
        have = ", ".join(map(str, frame.columns[:12])) + (", ..." if len(frame.columns) > 12 else "")
        raise ValueError(f"the {where} have no column {absent}, needed {purpose}; they have: {have or 'no column'}.")


def stacked(labeled: pd.DataFrame, unlabeled: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The named columns of labeled and unlabeled rows, labeled first."""
    import pandas as pd

    if not names:
        return pd.DataFrame(index=range(len(labeled) + len(unlabeled)))
    if not len(unlabeled):
        return labeled[list(names)]
    return pd.concat([labeled[list(names)], unlabeled[list(names)]], ignore_index=True)


def sum_is_finite(values: np.ndarray) -> bool:
    """No value is NaN or infinite; also False where values near the largest float overflow, so count after a False."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum()))
