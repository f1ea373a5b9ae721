"""A quantile of the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.estimands.base import Estimand, Example, as_numbers
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Quantile(Estimand):
    """The value that a share `q` of the outcomes does not exceed; `Quantile("income")` is the median.

    What stands in for "the outcome is at most t" is "the prediction is at most t", or, where the predictor offers
    `predict_distribution`, the predicted probability of it. Intervals invert tests; see
    `icl.inference.engine.quantile`.

    Args:
        column: the outcome, numbers.
        q: a fraction in (0, 1).
    """

    column: str
    q: float = 0.5

    default_std_error = "HC1"
    surrogate = "distribution"
    solver = "inversion"

    def __post_init__(self) -> None:
        if not 0 < self.q < 1:
            raise ValueError(f"q must lie in (0, 1), got {self.q}; write 0.9 for the 90th percentile.")

    def __str__(self) -> str:
        return f"{'median' if self.q == 0.5 else f'quantile {self.q:g}'} of {self.column}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def model(self) -> CanonicalGLM:
        """Of a mean: at each threshold a quantile is a question about the mean of an indicator."""
        return CanonicalGLM(Identity())

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("y"), "f"), Example(cls("y", 0.8), "f"))

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return as_numbers(labeled[self.column], "numbers, or ordered codes of the categories")

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return np.ones((len(frame), 1)), [f"{self.column} q{self.q:g}"]

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - 1 - tuned
