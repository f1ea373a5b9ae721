"""A statistic without scores: anything that can be computed from a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.estimands.base import Estimand, Example, as_numbers, as_tuple
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Statistic(Estimand):
    """The value of `function` on the population, by the bootstrap.

        Statistic(lambda d: d["income"].corr(d["age"]), "income", ["age"])
        Statistic(lambda d: gini(d["income"]), "income", name="Gini coefficient")

    Args:
        function: `function(table) -> float` or (P,); the table is a DataFrame with the outcome and the covariates. It
            is called with outcomes, and with predictions in their place. It should depend smoothly on the rows: a mean,
            a correlation, a ratio; not a maximum.
        outcome: column of the outcome, numbers.
        covariates: further columns that the function reads.
        parameters: P names.
        n_draws: bootstrap samples, for each of which the function is called three times.
        name: what summaries call it.
    """

    function: Callable[[pd.DataFrame], Any]
    column: str
    covariates: tuple[str, ...] = ()
    names: tuple[str, ...] = ("statistic",)
    n_draws: int = 1000
    name: str = "statistic"

    default_std_error = "HC1"
    solver = "bootstrap"

    def __init__(
        self,
        function: Callable[[pd.DataFrame], Any],
        outcome: str,
        covariates: list[str] | tuple[str, ...] = (),
        parameters: list[str] | tuple[str, ...] | None = None,
        *,
        n_draws: int = 1000,
        name: str = "statistic",
    ) -> None:
        if not callable(function):
            raise ValueError(f"Statistic got function={function!r}; pass a function of a DataFrame.")
        if n_draws < 100:
            raise ValueError(f"n_draws={n_draws} is too few for an interval; use 1000, at least 100.")
        names = (name,) if parameters is None else as_tuple(parameters)
        values = (function, outcome, as_tuple(covariates), names, n_draws, name)
        for field, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, field, value)

    def __str__(self) -> str:
        return f"{self.name} of {', '.join(map(str, [self.column, *self.covariates]))}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return self.covariates

    @property
    def model(self) -> CanonicalGLM:
        """Of the mean outcome: what diagnostics compare predictions and outcomes by."""
        return CanonicalGLM(Identity())

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls(lambda d: d["y"].std(), "y", n_draws=119, name="deviation"), "f"),)

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return as_numbers(labeled[self.column], "numbers as the outcome of a Statistic")

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return np.ones((len(frame), 1)), ["Intercept"]

    def parameters(self, terms: list[str]) -> list[str]:
        return list(map(str, self.names))

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - 1 - tuned
