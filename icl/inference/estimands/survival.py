"""Times to an event that is not always seen: the share that survives, and Cox regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands.base import Example, as_numbers, refuse_own
from icl.inference.estimands.linear import OLS
from icl.inference.estimands.linearised import Linearised
from icl.inference.estimands.partial_likelihood import PartialLikelihood
from icl.inference.estimands.times import censoring_findings, hazard_findings, survival_findings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class _Timed(Linearised):
    """Columns that both have."""

    time: str
    event: str

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        return (self.time, self.event)

    @property
    def assumes(self) -> str:
        return f"that who was lost before {self.event} was no more or less at risk than who stayed (random censoring)"

    def read(self, labeled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) and whether the event ended them (n,) bool."""
        time = as_numbers(labeled[self.time], "numbers as times")
        seen = as_numbers(labeled[self.event], "0 (censored) and 1 for the event")
        if (time < 0).any():
            raise ValueError(f"{int((time < 0).sum())} times in {self.time!r} are negative.")
        if not np.isin(seen, (0, 1)).all():
            raise ValueError(f"{self.event!r} must be 1 where the event was seen and 0 where it was not (censored).")
        if not seen.any():
            raise ValueError(f"no labeled row has had {self.event!r}; wait, or label more rows.")
        return time, seen == 1


@dataclass(frozen=True, eq=False)
class Survival(_Timed):
    """Share of the population that the event has not met by a time `at`; labels alone give Kaplan and Meier's estimate.

    A row's pseudo-outcome is S(t) (1 - n int_0^t dM_i / Y), with M_i its martingale and Y the number at risk: the
    influence function of the Kaplan-Meier estimate, of which the variance is Greenwood's in the limit. Its
    expectation given the covariates is the chance to survive, which is what predictions stand for and predictors learn.

    Few events or rows at risk, and censoring that is heavy or depends on other columns, are said
    (`icl.inference.estimands.times`).

    Args:
        time, event: columns; event is 1 where it was seen, 0 where it was not until `time` (censored). Rows without
            them are unlabeled.
        at: the time.
    Source:
        Kaplan & Meier (1958), doi:10.1080/01621459.1958.10501452; pseudo-outcomes: Andersen, Klein & Rosthoj (2003),
        doi:10.1093/biomet/90.1.15, and Overgaard, Parner & Pedersen (2017), doi:10.1214/16-AOS1516.
    """

    at: float = 1.0

    def __str__(self) -> str:
        return f"survival of {self.event} at {self.time} = {self.at:g}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("time", "died", 0.8), "p", has_units=False),)

    def parameters(self, terms: list[str]) -> list[str]:
        return [f"S({self.at:g})"]

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        """Of a column; what a regressor learns of pseudo-outcomes may leave [0, 1] by a little."""

    def refer(self, labeled: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
        """(n,) pseudo-outcomes."""
        time, seen = self.read(labeled)
        if self.at >= time.max():
            raise ValueError(
                f"at={self.at:g} lies beyond the longest labeled time, {time.max():g}: nobody shows what happens then. "
                "Ask for an earlier time."
            )
        w = weights / weights.sum()
        order = np.argsort(time, kind="stable")
        t, d, v = time[order], seen[order], w[order]
        first = np.searchsorted(t, t)  # ties are at risk together
        at_risk = np.cumsum(v[::-1])[::-1][first]
        counts = d & (t <= self.at)
        dN = v * counts
        moments, place = np.unique(t, return_inverse=True)
        events = np.bincount(place, dN, minlength=len(moments))
        risk = at_risk[np.searchsorted(t, moments)]
        S = float(np.prod(1 - events / risk))
        # Greenwood's form: the jump of the cumulative hazard over (risk - events), so that the product is linearised.
        rest = np.where(risk - events > 1e-15, risk - events, np.inf)
        drift = np.cumsum(events / (risk * rest))
        own = np.where(counts, 1 / rest[place], 0.0)
        until = drift[place]
        pseudo = S * (1 - (own - until))
        out = np.empty(len(t))
        out[order] = pseudo
        return out

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        return self.reference

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterator[Diagnostic]:
        time, seen = self.read(labeled)
        yield from survival_findings(time, seen, self.at, self.event)
        yield from censoring_findings(time, seen, labeled, (self.time, self.event))


@dataclass(frozen=True, eq=False)
class Cox(_Timed):
    """Log hazard ratios of Cox's regression; labels alone give the robust analysis of Lin and Wei.

    With U_i = int (x_i - xbar(u)) dM_i(u), of which the sum is zero at the maximum of the partial likelihood, and its
    information I, a row moves the coefficients by I^-1 U_i. These, times n, are the pseudo-outcomes: predictors learn
    from all features what a row would add, and rows without times count through that. Nothing is assumed of the
    predictor, and of the model nothing either: if hazards are not proportional, the estimand is the limit of the
    partial likelihood, which then depends on censoring (Struthers & Kalbfleisch 1986); a score test says so, as few
    events and near separation are said (`icl.inference.estimands.times`). Ties as Breslow has them.

    Args:
        time, event: columns, as in `Survival`.
        covariates: the right side of a formula, "age + C(sex)".
    Source:
        Lin & Wei (1989), doi:10.1080/01621459.1989.10478874; one-step augmentation as in `Linearised`.
    """

    covariates: str = ""

    scale = "logarithm of the hazard"

    def __post_init__(self) -> None:
        if not self.covariates:
            raise ValueError("Cox needs covariates: Cox('time', 'died', 'age + C(sex)').")

    def __str__(self) -> str:
        return f"Cox {self.time}, {self.event} ~ {self.covariates}"

    @cached_property
    def _right(self) -> OLS:
        right = OLS(f"{self.time} ~ {self.covariates}")
        refuse_own((self.time, self.event), right.covariate_columns, str(self))
        return right

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        return self._right.covariate_columns

    @property
    def n_responses(self) -> int:
        return 1 if self.reference is None else self.reference[0].shape[1]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("time", "died", covariates="x + z"), ["f", "mu"], has_units=False),)

    def parameters(self, terms: list[str]) -> list[str]:
        return list(self.reference[1])

    def outcome(self, labeled: pd.DataFrame) -> np.ndarray:
        values = self.reference[0]
        return values[:, 0] if values.shape[1] == 1 else values

    def refer(self, labeled: pd.DataFrame, weights: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(n, P) pseudo-outcomes and P names."""
        fit, names = self._fit(labeled, weights)
        return fit.coefficients + weights.sum() * fit.moves, names

    def _fit(self, labeled: pd.DataFrame, weights: np.ndarray) -> tuple[PartialLikelihood, list[str]]:
        time, seen = self.read(labeled)
        X, names = self._right.design(labeled)
        keep = [j for j, name in enumerate(names) if name != "Intercept"]
        return PartialLikelihood(time, seen, X[:, keep], weights, str(self)), [names[j] for j in keep]

    def findings(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> Iterator[Diagnostic]:
        fit, names = self._fit(labeled, np.ones(len(labeled)))
        yield from hazard_findings(fit, names, self.event)
        known = (self.time, self.event, *self.covariate_columns)
        yield from censoring_findings(fit.time, fit.seen, labeled, known)
