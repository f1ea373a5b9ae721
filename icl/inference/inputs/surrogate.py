"""The surrogate of one analysis: predictions that came with the rows, or a predictor that is cross-fitted now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.level import level_folds
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand
from icl.inference.estimands.quantile import Quantile
from icl.inference.frames import with_text_names
from icl.inference.inputs.balance import correct_predictions
from icl.inference.inputs.cross_fit import cross_fit, quantile_thresholds
from icl.inference.inputs.design import ResolvedDesign
from icl.inference.inputs.leaks import repeated
from icl.inference.inputs.predictions import read_predictions
from icl.inference.inputs.sample import Sample


def find_surrogate(
    estimand: Estimand,
    sample: Sample,
    y: np.ndarray,
    design: ResolvedDesign,
    predictor: Any,
    predictions: Any,
    features: list,
    folds: int,
    seed: int,
    designs: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Surrogate | None, list[Diagnostic]]:
    """Predictions of all rows, fit for the estimand, and notes; None where they cannot help.

    Args:
        features: columns that the predictor sees.
        designs: (n, p) and (N, p) given which held-out predictions are leveled (`icl.inference.engine.level`); None
            leaves them as they came.
    """
    if not np.ptp(y) > 0 and y.ndim == 1:  # no event, so nothing shows whether predictions go with the outcome
        return None, []
    if not len(sample.unlabeled):
        why = "there are no unlabeled rows, so predictions cannot help; the answer is the classical one."
        return None, [Diagnostic("no_unlabeled_rows", why)]
    clusters = design.sampling.clusters_labeled
    if predictions is not None:
        surrogate = read_predictions(sample, predictions, estimand)
    else:
        surrogate = cross_fit(
            predictor,
            with_text_names(sample.labeled[features]),
            y,
            with_text_names(sample.unlabeled[features]),
            folds,
            seed,
            thresholds=quantile_thresholds(y, estimand.q) if isinstance(estimand, Quantile) else None,
            groups=repeated(sample) if clusters is None else clusters,
            groups_unlabeled=design.sampling.clusters_unlabeled,
            strata=design.sampling.strata_labeled,
            weights_unlabeled=design.of_population,
        )
    estimand.check_predictions(surrogate.f_labeled, "labeled")
    estimand.check_predictions(surrogate.f_unlabeled, "unlabeled")
    notes = _fit_notes(surrogate)
    if designs is not None:
        surrogate = level_folds(surrogate, *designs, design.of_population)
    if design.balanced is not None and estimand.solver == "scores" and estimand.model.is_linear:
        surrogate = _correct(surrogate, y, design)
    return surrogate, notes


def _fit_notes(surrogate: Surrogate) -> list[Diagnostic]:
    if not surrogate.ignores_fit:
        return []
    return [
        Diagnostic(
            "ignores_fit",
            f"{surrogate.source.partition(',')[0]} predicts the same whatever rows it is fitted on, so fitting it "
            "without a row keeps nothing from it: if it has seen these labels before (a frozen model, a stored table "
            "of answers), the interval is not valid. Pass a model that learns in fit, or, of one that never saw them, "
            "predictions='column'.",
            "warning",
        )
    ]


def _correct(surrogate: Surrogate, y: np.ndarray, design: ResolvedDesign) -> Surrogate:
    """Predictions that are right on average given the estimated probability."""
    f_labeled, f_unlabeled = correct_predictions(
        y, surrogate.f_labeled, surrogate.f_unlabeled, design.sampling.weights_labeled, design.balanced
    )
    source = f"{surrogate.source}; corrected along the estimated probabilities"
    return replace(surrogate, f_labeled=f_labeled, f_unlabeled=f_unlabeled, source=source)
