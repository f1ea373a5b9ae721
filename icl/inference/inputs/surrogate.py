"""The surrogate of one analysis: predictions that came with the rows, or a predictor that is cross-fitted now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.level import level_folds
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand, Logistic, Mean, Poisson
from icl.inference.estimands.linearised import Linearised
from icl.inference.estimands.quantile import Quantile
from icl.inference.frames import with_text_names
from icl.inference.inputs.balance import correct_predictions
from icl.inference.inputs.copies import repeated
from icl.inference.inputs.cross_fit import cross_fit, quantile_thresholds
from icl.inference.inputs.design import ResolvedDesign
from icl.inference.inputs.predictions import read_predictions
from icl.inference.inputs.sample import Sample
from icl.inference.inputs.several import are_several, combine


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
    more: list[Diagnostic] = []
    target = estimand.target(sample.labeled) if isinstance(estimand, Linearised) else None
    if are_several(estimand, predictor, predictions):
        several = (predictor, predictions, features, folds, seed)
        surrogate, more = _several(estimand, sample, y, design, *several)
    elif predictions is not None:
        what = estimand if target is None else Mean(estimand.outcome_columns[0])
        surrogate = _linearised(read_predictions(sample, predictions, what), estimand, sample)
    else:
        surrogate = cross_fit(
            predictor,
            with_text_names(sample.labeled[features]),
            y if target is None else target,
            with_text_names(sample.unlabeled[features]),
            folds,
            seed,
            thresholds=quantile_thresholds(y, estimand.q) if isinstance(estimand, Quantile) else None,
            groups=repeated(sample.labeled, sample.unlabeled) if clusters is None else clusters,
            groups_unlabeled=design.sampling.clusters_unlabeled,
            strata=design.sampling.strata_labeled,
            weights_unlabeled=design.of_population,
        )
        if target is not None:
            surrogate = _linearised(surrogate, estimand, sample)
    estimand.check_predictions(surrogate.f_labeled, "labeled")
    estimand.check_predictions(surrogate.f_unlabeled, "unlabeled")
    notes = [*more, *_fit_notes(surrogate)]
    if designs is not None:
        surrogate = level_folds(surrogate, *designs, design.of_population)
    if design.balanced is not None and estimand.solver == "scores" and estimand.model.is_linear:
        surrogate = _correct(surrogate, y, design)
    return surrogate, notes


def _linearised(surrogate: Surrogate, estimand: Estimand, sample: Sample) -> Surrogate:
    """What predictions of an outcome say about its pseudo-outcomes."""
    if not isinstance(estimand, Linearised):
        return surrogate
    f = estimand.of_predictions(surrogate.f_labeled, sample.labeled)
    g = estimand.of_predictions(surrogate.f_unlabeled, sample.unlabeled)
    by_fold = surrogate.by_fold
    if by_fold is not None:
        by_fold = by_fold[0], np.stack([estimand.of_predictions(model, sample.unlabeled) for model in by_fold[1]])
    return replace(surrogate, f_labeled=f, f_unlabeled=g, by_fold=by_fold)


def _several(
    estimand: Estimand,
    sample: Sample,
    y: np.ndarray,
    design: ResolvedDesign,
    predictor: Any,
    predictions: Any,
    features: list,
    folds: int,
    seed: int,
) -> tuple[Surrogate, list[Diagnostic]]:
    """Predictions, or predictors, of one outcome, combined; of pseudo-outcomes, what each says about them."""
    target = estimand.target(sample.labeled) if isinstance(estimand, Linearised) else None
    clusters = design.sampling.clusters_labeled
    asked: dict[str, Any] = {
        "groups": repeated(sample.labeled, sample.unlabeled) if clusters is None else clusters,
        "groups_unlabeled": design.sampling.clusters_unlabeled,
    }
    if predictions is not None:
        what = estimand if target is None else Mean(estimand.outcome_columns[0])
        parts = [_linearised(read_predictions(sample, name, what), estimand, sample) for name in predictions]
        names = [str(name) for name in predictions]
    else:
        X, X_new = with_text_names(sample.labeled[features]), with_text_names(sample.unlabeled[features])
        strata = design.sampling.strata_labeled
        learnt = y if target is None else target
        parts = [cross_fit(model, X, learnt, X_new, folds, seed, strata=strata, **asked) for model in predictor]
        if target is not None:
            parts = [_linearised(part, estimand, sample) for part in parts]
        flat = np.ones((len(y), 1)), np.ones((len(sample.unlabeled), 1)), design.of_population
        parts = [level_folds(part, *flat) for part in parts]
        names = [type(model).__name__ for model in predictor]
    if y.ndim > 1:
        raise ValueError("several predictors are for one outcome; pass one predictor for several outcomes or classes.")
    for part in parts:
        estimand.check_predictions(part.f_unlabeled, "unlabeled")
    inside = [np.concatenate([part.f_labeled, part.f_unlabeled]) for part in parts]
    bounds = None
    if isinstance(estimand, (Logistic, Poisson)):
        bounds = min(f.min() for f in inside), max(f.max() for f in inside)
    return combine(y, parts, names, seed, bounds=bounds, **asked)


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
