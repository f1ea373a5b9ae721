"""The contract of an estimand: its columns, its outcome, its design, its estimating equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic, sum_is_finite
from icl.inference.frames import AS_A_NUMBER, holds_times, said_times, stacked

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.estimands.equations import EstimatingEquation


@dataclass(frozen=True)
class Example:
    """An estimand on the columns of `icl.inference.estimands.registry.example_table`."""

    estimand: Estimand
    predictions: str | list[str]
    """Columns that predict its outcome."""
    has_units: bool = True
    """With outcome and predictions in other units, the estimate changes as they do."""
    constants_are_silent: bool = True
    """Predictions that are the same on every row say nothing, so that the answer is the classical one."""


class Estimand(ABC):
    """Shapes: R rows, n of them labeled, p design columns, K responses in a row, P = pK parameters."""

    default_std_error: str
    solver: str = "scores"
    """How it is solved: "scores" (`rectify`), "inversion" (of tests), or "bootstrap"."""
    scale: str = ""
    """What coefficients are, in words, where they are not in the units of the outcome."""
    surrogate: str = "value"
    """What a predictor is asked for: "value" (or the probability of outcome 1), or "classes" (P of each class)."""

    @property
    @abstractmethod
    def outcome_columns(self) -> tuple[str, ...]:
        """Columns the outcome is made of; a row with a missing value in one of them is unlabeled."""

    @property
    @abstractmethod
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns the design is made of; they must be complete on every row."""

    @property
    @abstractmethod
    def model(self) -> EstimatingEquation:
        """The estimating equation; after `resolve`, where that matters."""

    @property
    def n_responses(self) -> int:
        """K, numbers that make up the outcome of a row."""
        return 1

    @property
    def assumes(self) -> str:
        """What must be true for a valid interval beside what the design says, as a clause that begins with "that"."""
        return ""

    @property
    def limits(self) -> tuple[float, float]:
        """What no parameter lies below, and none above."""
        return -np.inf, np.inf

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterable[Diagnostic]:
        """What a reader should know of these rows before trusting the interval, beside what holds for all estimands.

        Called after `resolve`. Rows are taken as independent; what depends on predictions is in
        `icl.inference.results.diagnostics`.
        """
        return ()

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """What the contract test runs through the laws that hold for every estimand."""
        return ()

    def resolve(self, labeled: pd.DataFrame) -> Estimand:
        """This estimand with what must be read off the labeled rows (classes, groups) written down."""
        return self

    @abstractmethod
    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        """(n,) outcome of the labeled rows, or (n, K), in the units of the estimate."""

    @abstractmethod
    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        """(R, p) design of labeled and unlabeled rows together, so that levels are shared, and p term names."""

    def designs(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Designs of labeled (n, p) and unlabeled (N, p) rows, and p term names."""
        X, terms = self.design(stacked(labeled, unlabeled, self.covariate_columns))
        n = len(labeled)
        return X[:n], X[n:], terms

    def parameters(self, terms: list[str]) -> list[str]:
        """P names, from the p names of the design."""
        return terms

    def check_predictions(self, f: np.ndarray, which: str) -> None:  # noqa: B027 - most outcomes allow any number
        """ValueError for predictions (R,) or (R, K) that cannot be those of this outcome."""

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        """Of the t reference, when the weight was tuned on the same rows or not; `n_terms` is p."""
        return n_labeled - n_terms


def as_numbers(column: pd.Series, advice: str) -> np.ndarray:
    """(R,) float64 values of a column of numbers or booleans; ValueError for text, dates and infinities."""
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype, is_object_dtype

    kind = column.dtype
    if not (is_numeric_dtype(kind) or is_bool_dtype(kind)) or is_complex_dtype(kind):
        values = column.dropna()
        if not is_object_dtype(kind) or not all(isinstance(v, (bool, int, float, np.number, np.bool_)) for v in values):
            if holds_times(column):
                raise ValueError(f"column {column.name!r} holds {said_times(column)}, not numbers. {AS_A_NUMBER}")
            seen = ", ".join(repr(v) for v in list(dict.fromkeys(values))[:4])
            raise ValueError(f"column {column.name!r} holds {kind} values ({seen}), not numbers. Use {advice}.")
    numbers = column.to_numpy(dtype=float, na_value=np.nan)
    if not sum_is_finite(numbers):
        n_infinite = int(np.isinf(numbers).sum())
        if n_infinite:
            raise ValueError(
                f"column {column.name!r} holds {n_infinite} infinite values; remove or cap those rows first."
            )
    return numbers


def refuse_own(outcome: Iterable, covariates: Iterable, what: str) -> None:
    """ValueError for an outcome that explains itself: unlabeled rows have none, and labeled ones fit it exactly."""
    own = [name for name in covariates if name in {*outcome}]
    if own:
        raise ValueError(f"{what} has {own[0]!r} as outcome and as covariate; leave it out of the covariates.")


def as_tuple(names: Any) -> tuple:
    """A tuple of column names from one name or several."""
    return tuple(names) if isinstance(names, (list, tuple)) else (names,)
