"""Labels from one population, an answer about another: the unlabeled rows.

Under covariate shift the two populations differ in the covariates, not in how the outcome depends on them. Labeled rows
then count with the density ratio r(x) = P(unlabeled | x) / P(labeled | x), up to a constant, from a classifier that
tells the two apart and was fitted without the row, and with weight 1

    theta solves  mean over unlabeled rows of score(x, f) + weighted mean over labeled rows of score(x, y) - score(x, f)

which is right if either the ratio or the predictions are (doubly robust). Under label shift it is the shares of the K
classes that differ, not the covariates within a class; then mean predictions among unlabeled rows are those of the
classes (the columns of the confusion matrix, which labeled rows show) mixed by their shares there, whatever predicts
(`icl.inference.engine.label_shift`). Of two classes the share is
(mean of f there - mean of f where y = 0) / (mean of f where y = 1 - mean of f where y = 0).

Sources: Shimodaira (2000), doi:10.1016/S0378-3758(00)00115-4; doubly robust: Hirano, Imbens & Ridder (2003),
doi:10.1111/1468-0262.00442, for the treated; label shift: Lipton, Wang & Smola (2018), arXiv:1802.03916, whose formula
for hard labels is that of Rogan & Gladen (1978), doi:10.1093/oxfordjournals.aje.a112510, of diagnostic tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.estimands import Estimand, Mean, Shares
from icl.inference.inputs.arms import logistic_model
from icl.inference.inputs.cross_fit import is_classifier
from icl.inference.inputs.design import Design, ResolvedDesign
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

SHIFTS = ("covariate", "label")
FEWEST_WORTH = 10.0
"""Equal rows that the labeled ones must count for."""
LEAST_SHARE = 0.15
"""Of the labeled rows, that must be left of them where the ratio is estimated. Measured with a linear predictor of a
parabola, 300 labels, nominal .90, 100 repetitions: .87 covered where .5 of the rows are left, .88 of .2, .75 of .1."""
MOST_OUTSIDE = 0.15
"""Share of the unlabeled rows that lie beyond all labeled ones, above which there is no answer."""


@dataclass(frozen=True, eq=False)
class Transport(Design):
    """The unlabeled rows are another population than the labeled ones, and it is them the answer is about.

    Args:
        propensity: a classifier that tells labeled from unlabeled rows; default: the predictor where it classifies or
            offers `as_classifier()`, otherwise a logistic regression. Or `probability`, if it is known.
        features: columns by which populations may differ; default: those that the predictor sees.
        clusters, weights: as in `Design`.
        shift: "covariate", or "label" for shares of classes whose predictions mean the same in both populations:
            `Shares(column)` of any number of classes, or `Mean(column, event=...)` of two. All classes must have
            labels; predictions that do not tell them apart are refused.
    """

    shift: str = "covariate"
    least: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift not in SHIFTS:
            raise ValueError(f"shift got {self.shift!r}; known are {', '.join(map(repr, SHIFTS))}.")
        if self.strata is not None:
            raise ValueError("Transport has no strata=; give the stratum to the models as a feature.")
        if self.shift == "label" and (self.probability is not None or self.propensity is not None):
            raise ValueError("shift='label' needs no probabilities; leave probability= and propensity= out.")

    @property
    def needs_features(self) -> bool:
        return self.shift == "covariate" and self.probability is None and self.features is None

    @property
    def assumption(self) -> str:
        if self.shift == "label":
            return (
                "that labeled and unlabeled rows differ in the shares of the classes only: within a class the "
                "predictions are distributed alike in both (label shift); the answer is about the unlabeled rows"
            )
        return (
            "that outcomes depend on the features alike in labeled and unlabeled rows (covariate shift), and that the "
            "estimated density ratio or the predictions are right on average given them; the answer is about the "
            "unlabeled rows"
        )

    def with_model(self, predictor: Any) -> Transport:
        if self.shift == "label" or self.propensity is not None or self.probability is not None:
            return self
        if predictor is not None and is_classifier(predictor):
            return replace(self, propensity=predictor)
        return replace(
            self, propensity=predictor.as_classifier() if hasattr(predictor, "as_classifier") else logistic_model()
        )

    def check(self, estimand: Estimand, labeled: pd.DataFrame, predicts: bool, weight: str | float) -> None:
        if self.shift != "label":
            return
        column = estimand.outcome_columns[0]
        seen = labeled[column].dropna().unique().tolist()
        is_share = isinstance(estimand, Mean) and estimand.by is None and len(estimand.outcome_columns) == 1
        if is_share and getattr(estimand, "event", None) is None:
            is_share = {*seen} <= {0, 1}
        if not isinstance(estimand, Shares) and not is_share:
            raise ValueError(
                f"shift='label' is for the shares of classes, not for {str(estimand)!r}; use Shares(column) "
                "('shares: column' in a line), Mean(column, event=...) of two classes, or Transport() for covariate "
                "shift."
            )
        if is_share and len(seen) > 2:
            raise ValueError(
                f"{column!r} has {len(seen)} values among the labeled rows ({', '.join(map(repr, seen[:6]))}), and "
                f"under label shift the share of one class needs all of them: use Shares({column!r}) "
                f"('shares: {column}' in a line), or merge the others into one class, if these are always mixed alike."
            )
        if len(seen) < 2:
            raise ValueError(
                f"all labeled rows have {column} = {seen[0]!r}: nothing shows how other classes are predicted. Label "
                "rows of every class that the unlabeled rows may have."
            )
        if not predicts or weight == 0:
            raise ValueError(
                "shift='label' needs predictions, and weight='auto': labeled rows alone say nothing of the shares "
                "among the unlabeled ones."
            )

    def resolve(self, sample: Sample, features: Sequence[str], folds: int, seed: int) -> ResolvedDesign:
        n, N = len(sample.labeled), len(sample.unlabeled)
        if not N or sample.stream is not None:
            raise ValueError("Transport() needs the rows of the other population as unlabeled rows, in memory.")
        if self.shift == "label":
            plain = Design(clusters=self.clusters, weights=self.weights).resolve(sample, features, folds, seed)
            return replace(plain, sampling=replace(plain.sampling, has_label_shift=True))
        drawn = super().resolve(sample, features, folds, seed)
        p = np.clip(drawn.inclusion, 1e-9, 1 - 1e-9)
        sampling = drawn.sampling
        survey = np.ones(n + N)
        if self.weights is not None:
            survey = np.concatenate([sampling.weights_pooled, sampling.weights_unlabeled])
        ratio = survey[:n] * (1 - p[:n]) / p[:n]
        weights, basis = self._balanced(ratio / ratio.mean(), p, np.r_[np.zeros(n), survey[n:]])
        # Beyond the last but one labeled row on the way to the other population nobody shows outcomes.
        outside = float(survey[n:][p[n:] < np.sort(p[:n])[1]].sum() / survey[n:].sum())
        notes = [note for note in drawn.notes if note.code not in ("poor_overlap", "uneven_weights")]
        notes += _check(weights, outside, LEAST_SHARE if self.propensity is not None else 0.0)
        # Labeled rows are no part of the population: beside unlabeled ones they count for nothing.
        moved = replace(
            sampling, weights_labeled=weights, weights_unlabeled=survey[n:], weights_pooled=np.zeros(n), pools=True
        )
        return ResolvedTransport(moved, drawn.inclusion, tuple(notes), basis)

    def _balanced(self, ratio: np.ndarray, p: np.ndarray, everyone: np.ndarray) -> tuple[np.ndarray, Any]:
        from icl.inference.inputs.balance import balance

        return balance(ratio, p, everyone) if self.propensity is not None else (ratio, None)


@dataclass(frozen=True, eq=False)
class ResolvedTransport(ResolvedDesign):
    """Unlabeled rows are the population as they are."""

    @property
    def of_population(self) -> np.ndarray | None:
        return self.sampling.weights_unlabeled


def _check(weights: np.ndarray, outside: float, least: float) -> list[Diagnostic]:
    n = len(weights)
    worth = float(weights.sum() ** 2 / (weights @ weights))
    needed = max(FEWEST_WORTH, least * n)
    if worth < needed:
        raise ValueError(
            f"weighted to look like the unlabeled rows, the {n} labeled ones count for {worth:.1f}: the populations "
            f"hardly overlap, and a few rows would decide. At least {needed:.0f} are "
            "needed; label rows that resemble the unlabeled ones."
        )
    if outside > MOST_OUTSIDE:
        raise ValueError(
            f"{outside:.0%} of the unlabeled rows resemble hardly any labeled row, so nobody shows their outcomes. "
            "Label rows there, or leave these rows out and say so."
        )
    if worth > n / 2 and outside < 0.02:
        return []
    return [
        Diagnostic(
            "transport_overlap",
            f"weighted to look like the unlabeled rows, the {n} labeled ones count for {worth:.0f}; {outside:.1%} of "
            "the unlabeled rows resemble hardly any labeled one, and the answer about them rests on the predictions.",
        )
    ]
