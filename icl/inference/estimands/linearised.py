"""Estimands that are means of what each row adds to them: pseudo-outcomes, whose mean is the classical estimate."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from icl.inference.estimands.base import Estimand
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Identity
from icl.inference.estimands.linear import intercept

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, kw_only=True)
class Linearised(Estimand):
    """A smooth function T of the distribution, by its influence function psi at the labeled rows.

    The outcome of a row is T(F_labeled) + psi(row), of which the mean is T(F_labeled). The rectified mean of these is
    the one-step estimate: T(F_labeled) + W (mean of g over all rows - mean of g over labeled rows), where g predicts
    psi; its error is that of a mean, up to terms of order 1/n. A predictor is fitted on the pseudo-outcomes, hence
    learns E[psi | x], which is the best that can stand in for them. That F_labeled was estimated enters through psi.
    Source: the one-step estimator, Bickel, Klaassen, Ritov & Wellner (1993); rectified, arXiv:2507.05220.
    """

    reference: Any = None
    """What psi is computed with, from labeled rows."""

    default_std_error = "jackknife"

    @abstractmethod
    def refer(self, labeled: pd.DataFrame, weights: np.ndarray) -> Any:
        """`reference` from labeled rows, which count with weights (n,)."""

    def of_predictions(self, f: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        """What predictions (R,) of the outcome of rows say about the pseudo-outcome: (R,) or (R, K)."""
        return f

    def target(self, labeled: pd.DataFrame) -> np.ndarray | None:
        """(n,) what a predictor learns, and `of_predictions` turns into pseudo-outcomes; None: these themselves."""
        return None

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def model(self) -> CanonicalGLM:
        return CanonicalGLM(Identity(), self.n_responses)

    def resolve(self, labeled: pd.DataFrame) -> Self:
        return self.weighted(labeled, np.ones(len(labeled)))

    def weighted(self, labeled: pd.DataFrame, weights: np.ndarray) -> Self:
        """The same estimand where labeled rows count with these weights."""
        return replace(self, reference=self.refer(labeled, weights))

    def design(self, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        return intercept(len(frame)), ["Intercept"]

    def designs(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        return intercept(len(labeled)), intercept(len(unlabeled)), ["Intercept"]

    def degrees_of_freedom(self, n_labeled: int, n_terms: int, tuned: bool) -> int:
        return n_labeled - n_terms - tuned
