"""A table and a treatment become the arms of an `Effect`: probabilities of treatment and predictions under each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.effect import Arms
from icl.inference.engine.level import level_folds
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Mean
from icl.inference.estimands.effect import Effect
from icl.inference.frames import refuse_times, with_text_names
from icl.inference.inputs.cross_fit import cross_fit, is_classifier
from icl.inference.inputs.design import Design, ResolvedDesign
from icl.inference.inputs.predictions import feature_columns, read_predictions
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    import pandas as pd

LEAST = 0.01
"""Estimated probabilities of an arm are raised to this, so that no row outweighs all others."""
NO_OVERLAP = 0.02
"""A row whose probability of an arm is below this has hardly anybody to be compared with."""
MOST_OUTSIDE = 0.1
"""Share of the population without overlap, above which there is no answer."""
FEWEST_WORTH = 8.0
"""Equal rows that an arm must count for."""


def read_arms(
    estimand: Effect,
    sample: Sample,
    y: np.ndarray,
    groups: np.ndarray,
    design: Design,
    drawn: ResolvedDesign,
    predictor: Any,
    predictions: Any,
    features: list,
    folds: int,
    seed: int,
) -> tuple[Arms, Surrogate | None, list[Diagnostic]]:
    """Arms, what stands in for the outcome, and notes.

    Raises:
        ValueError: for a treatment that is not coded 0 and 1, and where the two arms do not overlap.
    """
    T = estimand.in_treatment(sample.columns([estimand.treatment])[estimand.treatment])
    X = with_text_names(sample.columns(features)) if features else None
    clusters = drawn.sampling.clusters_labeled
    if clusters is not None:
        clusters = np.unique(np.concatenate([clusters, drawn.sampling.clusters_unlabeled]), return_inverse=True)[1]
    e, source, notes, is_logistic = _probability(estimand, sample, T, X, predictor, clusters, folds, seed)
    mu, said = _predicted(estimand, sample, y, T, X, clusters, predictor, predictions, folds, seed)
    sampling = drawn.sampling
    weights = None
    if sampling.weights_pooled is not None:
        weights = np.concatenate([sampling.weights_pooled, sampling.weights_unlabeled])
    numbers, names = _numeric(X)
    arms = Arms(
        T, e, groups, estimand.kind if not estimand.by else "ate", estimand.where, estimand.randomised is not None, mu,
        predictor is not None, weights, sampling.weights_labeled, clusters, numbers, names,
        is_logistic,
    )  # fmt: skip
    if not arms.is_randomised:
        notes += check_overlap(arms, len(y), estimand)
    surrogate = None
    if mu is not None:
        own = np.where(T, mu[:, 1], mu[:, 0])
        text = said if not source else f"{said}; treatment by {source}"
        surrogate = Surrogate(own[: len(y)], own[len(y) :], text, is_cross_fitted=predictor is not None)
    return arms, surrogate, notes


def effect_features(sample: Sample, estimand: Effect, features: Any, design: Design) -> list:
    """Columns that the models of outcome and treatment see."""
    wanted = estimand.covariates if features is None else features
    columns = feature_columns(sample, estimand, None if wanted is None else list(wanted), design)
    hidden = {estimand.treatment, estimand.randomised}
    if named := hidden.intersection(wanted or ()):
        raise ValueError(f"the covariates contain {sorted(map(str, named))}, which says who is treated; leave it out.")
    return [name for name in columns if name not in hidden]


def check_overlap(arms: Arms, n: int, estimand: Effect) -> list[Diagnostic]:
    """Notes on overlap; ValueError where much of the population has nobody to be compared with."""
    e, t = arms.probability, arms.target
    low = e < NO_OVERLAP if arms.kind == "ate" else np.zeros(len(e), dtype=bool)
    outside = low | (e > 1 - NO_OVERLAP)
    lost = float(t[outside].sum() / t.sum()) if t.sum() > 0 else 1.0
    advice = (
        "Ask about those for whom both arms occur: Effect(..., where='overlap') or where='trimmed', or kind='att' if "
        "it is the treated who are well matched."
    )
    worth = [arms.worth(a, n) for a in (0, 1)] if t.sum() > 0 else [0.0, 0.0]
    if arms.where != "overlap" and lost > MOST_OUTSIDE:
        raise ValueError(
            f"{lost:.0%} of the population of the {estimand} has a probability below {NO_OVERLAP:.0%} of one of the "
            f"arms, so nobody shows what would have happened to it there. {advice}"
        )
    if min(worth) < FEWEST_WORTH:
        raise ValueError(
            f"weighted by the probabilities of treatment, an arm counts for {min(worth):.1f} equal rows, below "
            f"{FEWEST_WORTH:g}: a few rows would decide the {estimand}. {advice}"
        )
    notes = []
    sizes = [int((arms.is_treated[:n] == bool(a)).sum()) for a in (0, 1)]
    if lost > 0 or min(w / s for w, s in zip(worth, sizes, strict=True)) < 0.5:
        notes.append(
            Diagnostic(
                "arm_overlap",
                f"the {sizes[0]} untreated labeled rows count for {worth[0]:.0f} equal ones, the {sizes[1]} treated "
                f"for {worth[1]:.0f}; {lost:.1%} of the population has a probability below {NO_OVERLAP:.0%} of an arm. "
                "result.plot_overlap() shows it; where='overlap' or 'trimmed' asks where both arms occur.",
            )
        )
    if arms.where == "trimmed":
        gone = 1 - arms.is_kept.mean()
        notes.append(
            Diagnostic(
                "trimmed", f"{gone:.0%} of the rows, with a probability of treatment outside .1 to .9, are left out."
            )
        )
    return notes


def _probability(
    estimand: Effect, sample: Sample, T: np.ndarray, X: Any, predictor: Any, clusters: Any, folds: int, seed: int
) -> tuple[np.ndarray, str, list[Diagnostic], bool]:
    p = estimand.randomised
    if isinstance(p, str):
        refuse_times(sample.columns([p])[p], f"randomised={p!r}")
        known = sample.columns([p])[p].to_numpy(dtype=float)
        if not ((known > 0) & (known < 1)).all():
            raise ValueError(
                f"randomised={p!r} has probabilities outside (0, 1); every row needs a chance of each arm."
            )
        return known, "", [], False
    if p is not None:
        return np.full(len(T), float(p)), "", _assignment_notes(T, float(p)), False
    if X is None:
        raise ValueError(
            f"the {estimand} needs covariates by which treated and untreated rows are comparable; name them, or say "
            "randomised=0.5 (the probability of treatment) if the treatment was assigned at random."
        )
    model = treatment_model(estimand, predictor)
    e = cross_fit(model, X, T.astype(float), X.iloc[:0], folds, seed, groups=clusters).f_labeled
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    # From few folds its probabilities are those of fewer rows, and nothing is taken out: 2 folds, .83 for .90.
    is_logistic = type(last).__name__ == "LogisticRegression" and folds >= 5
    return np.clip(e, LEAST, 1 - LEAST), type(last).__name__, [], is_logistic


def _assignment_notes(T: np.ndarray, p: float) -> list[Diagnostic]:
    """A share of treated rows that the stated probability hardly gives."""
    z = (T.mean() - p) / np.sqrt(p * (1 - p) / len(T))
    if abs(z) < 4:
        return []
    return [
        Diagnostic(
            "assignment",
            f"{T.mean():.1%} of {len(T)} rows are treated, which a probability of {p:g} hardly gives "
            f"({z:+.1f} standard errors): check randomised=.",
            "warning",
        )
    ]


def treatment_model(estimand: Effect, predictor: Any) -> Any:
    """The classifier that learns the probability of treatment."""
    if estimand.propensity is not None:
        if not hasattr(estimand.propensity, "predict_proba"):
            raise ValueError(f"propensity= got {estimand.propensity!r}; pass a classifier with fit and predict_proba.")
        return estimand.propensity
    if predictor is not None and is_classifier(predictor):
        return predictor
    if hasattr(predictor, "as_classifier"):
        return predictor.as_classifier()
    return logistic_model()


def logistic_model() -> Any:
    """Logistic regression on standardised numbers and indicators of categories."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_column_selector(dtype_include=["number", "bool"])
    others = make_column_selector(dtype_exclude=["number", "bool"])
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=5), others),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def _predicted(
    estimand: Effect,
    sample: Sample,
    y: np.ndarray,
    T: np.ndarray,
    X: pd.DataFrame | None,
    clusters: np.ndarray | None,
    predictor: Any,
    predictions: Any,
    folds: int,
    seed: int,
) -> tuple[np.ndarray | None, str]:
    """(R, 2) outcomes predicted under each arm."""
    if predictions is not None:
        is_one = isinstance(predictions, str) or (
            not isinstance(predictions, (list, tuple)) and np.ndim(predictions) == 1
        )
        column = estimand.outcome_column
        stand_in = Mean(column) if is_one else Mean((column, column))
        read = read_predictions(sample, predictions, stand_in)
        mu = np.concatenate([read.f_labeled, read.f_unlabeled])
        return np.column_stack([mu, mu]) if is_one else mu, read.source
    if predictor is None:
        return None, ""
    if X is None:
        raise ValueError("there is no column that the predictor could see; name covariates, or pass predictions=.")
    n = len(y)
    mu = np.empty((len(T), 2))
    source = ""
    for a in (0, 1):
        ours = np.flatnonzero(T[:n] == bool(a))
        others = np.setdiff1d(np.arange(len(T)), ours)
        if len(ours) < folds:
            raise ValueError(
                f"arm {a} has {len(ours)} labeled rows, fewer than folds={folds}; label more, or use fewer."
            )
        of = lambda rows: None if clusters is None else clusters[rows]
        made = cross_fit(
            predictor, X.iloc[ours], y[ours], X.iloc[others], folds, seed, groups=of(ours), groups_unlabeled=of(others)
        )
        if estimand.randomised is not None:  # other rows are then like these, so that fold models can be leveled
            made = level_folds(made, np.ones((len(ours), 1)), np.ones((len(others), 1)))
        mu[ours, a], mu[others, a] = made.f_labeled, made.f_unlabeled
        source = made.source
    return mu, f"{source}, each arm by itself"


def _numeric(X: pd.DataFrame | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(R, q) numbers and indicators of at most 20 categories, gaps filled with the mean, and their names."""
    if X is None:
        return None, ()
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    columns, names = [], []
    for name in X:
        column = X[name]
        if is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            if np.isnan(values).all():
                continue
            columns.append(np.where(np.isnan(values), np.nanmean(values), values))
            names.append(str(name))
        elif 1 < column.nunique() <= 20:
            for level in sorted(map(str, column.dropna().unique()))[1:]:
                columns.append((column.astype(str) == level).to_numpy(dtype=float))
                names.append(f"{name}={level}")
    varies = [np.ptp(c) > 0 for c in columns]
    kept = [c for c, v in zip(columns, varies, strict=True) if v]
    return (
        np.column_stack(kept) if kept else np.empty((len(X), 0)),
        tuple(n for n, v in zip(names, varies, strict=True) if v),
    )
