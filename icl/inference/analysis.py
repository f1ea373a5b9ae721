"""`infer`: the one function a user calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.problem import STD_ERRORS, Problem
from icl.inference.engine.solve import solve
from icl.inference.engine.weights import PEERS, read_weight
from icl.inference.estimands import Estimand, Mean
from icl.inference.inputs.balance import correct_predictions
from icl.inference.inputs.cross_fit import Surrogate, cross_fit, quantile_thresholds
from icl.inference.inputs.design import Design, DesignArrays
from icl.inference.inputs.predictions import feature_columns, read_distribution, read_predictions
from icl.inference.inputs.sample import Rows, read_rows
from icl.inference.inputs.stream import is_stream, read_stream, stream_columns
from icl.inference.results.diagnostics import diagnose
from icl.inference.results.result import InferenceResult

if TYPE_CHECKING:
    import pandas as pd


def infer(
    estimand: Estimand,
    table: pd.DataFrame | None = None,
    *,
    labeled: pd.DataFrame | None = None,
    unlabeled: Any = None,
    predictor: Any = None,
    predictions: str | list[str] | np.ndarray | tuple | None = None,
    features: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    weight: str | float = "auto",
    design: Design | None = None,
    std_error: str = "auto",
    reference: str = "t",
    level: float = 0.95,
    compat: str | None = None,
) -> InferenceResult:
    """Estimate with an interval from a few labeled rows and predictions for all of them.

    Valid whatever the quality of the predictions, provided that the labeled rows are a random sample of all rows
    (missing completely at random) and no labeled row was predicted by a model that saw its label. Good predictions make
    the interval narrow; useless ones leave the classical answer.

    Args:
        estimand: `Mean("income")`, `OLS("income ~ age + C(sex)")`.
        table: all rows; a missing outcome marks an unlabeled row. Or pass `labeled` and `unlabeled`.
        unlabeled: a DataFrame; or rows that do not fit in memory: the path of a Parquet file, a pyarrow or Hugging Face
            dataset, or a function that returns a fresh iterator over batches. `predictions` then names columns.
        predictor: anything with fit and predict, fitted or not; it is cloned and cross-fitted on the labeled rows. A
            classifier's probability of outcome 1 is used for a binary outcome. One whose method
            `refuse_seen_rows(labeled, unlabeled)` says that it was fine-tuned on these rows is refused.
        predictions: instead of a predictor, the column that holds out-of-sample predictions, or an array in the
            order of the rows of `table` (of `labeled`, then `unlabeled`), or a pair of arrays (labeled, unlabeled),
            or what `cross_fit` gave, so that several estimands share one cross-fit.
            Several outcomes need a list of columns or an array (rows, outcomes); Multinomial a column for each class,
            in the order of `classes`. With neither, the answer is the classical one.
        features: columns that the predictor may see; default: all but the outcome.
        folds, seed: of the cross-fitting.
        weight: how much the predictions count: 0 (labeled rows only), 1 (PPI), a number, "ppi++" (one scalar, tuned
            to minimise the summed variance), "synsurr" (the partial regression coefficient of the outcome on the
            predictions), "coordinate" (one for each coefficient, PSPA), "matrix" (Chen-Chen), "recalibrated" (RePPI),
            or "auto" (= "synsurr").
        design: how the labeled rows were chosen, if not at random from all rows: `Design(probability="p")`,
            `Design(strata="region")`, `Design(clusters="school")` ... With estimated probabilities `auto` is 1
            (AIPW), so that good predictions make up for wrong probabilities.
        std_error: "HC0" to "HC3" (sandwich), "residual" (equal variances), "model" (SynSurr's published variance, which
            also takes the weight as known), or "auto": "residual" for a mean, where it equals the
            textbook standard error (under uneven weights "HC2"), and "HC3" for a regression. With clusters the same
            names mean CR0 to CR3, and "auto" is "HC2".
        reference: "t", with n - 1 degrees of freedom for a mean (n - 2 if the weight is tuned) and n - P for a
            regression, or "normal". Rows of uneven weights, and clusters, count for fewer (Satterthwaite).
        level: coverage of the intervals that are printed, a fraction.
        compat: "ppi_py" reproduces ppi-python 0.2.3 (no small-sample correction, clipped two-step weight), "ipd" the R
            package (weights "coordinate", its pspa, and "matrix", its chen); `std_error` and `reference` are ignored.
    Returns:
        InferenceResult: estimates, intervals, p-values, comparison of methods, diagnostics.
    Raises:
        ValueError: for input that cannot give a valid answer; the message says what came and what to do.
    Source:
        Angelopoulos et al. (2023), doi:10.1126/science.adi6000; Angelopoulos, Duchi, Zrnic (2023), arXiv:2311.01453;
        McCaw et al. (2024), doi:10.1038/s41588-024-01793-9; Zrnic & Candes (2024), arXiv:2309.16598.
    """
    if not isinstance(estimand, Estimand):
        raise ValueError(f"estimand= got {estimand!r}; pass Mean('column') or OLS('outcome ~ covariates').")
    _check_options(std_error, reference, level, compat)
    weight = read_weight(weight, compat)
    if compat is not None:
        std_error, reference = "HC0", "normal"
    elif std_error == "auto":
        std_error = estimand.default_std_error
        if std_error == "HC3" and design is not None and design.clusters is not None:
            std_error = "HC2"  # CR2: with Satterthwaite's degrees of freedom the jackknife, CR3, would be too wide
    stream = unlabeled if is_stream(unlabeled) else None
    if stream is not None and design is not None:
        raise ValueError("design= needs unlabeled= in memory; rows from a file count alike and are independent.")
    rows = read_rows(estimand, table, labeled, None if stream is not None else unlabeled)
    estimand = estimand.resolve(rows.labeled)
    y = estimand.outcome(rows.labeled)
    X_labeled, X_unlabeled, columns = estimand.designs(rows)
    _check_outcome(y, len(estimand.parameters(columns)) // estimand.n_responses, estimand)
    notes = _row_notes(rows)
    design = Design() if design is None else design
    if hasattr(predictor, "refuse_seen_rows"):
        # A model fine-tuned on these rows knows their labels, and no cross-fitting undoes that.
        predictor.refuse_seen_rows(rows.labeled, rows.unlabeled)
    names = feature_columns(rows, estimand, features, design) if _needs_features(predictor, design, rows) else []
    arrays = design.resolve(rows, names, folds, seed)
    notes += arrays.notes
    surrogate = None
    has_events = np.ptp(y) > 0 or y.ndim > 1
    if predictor is not None and predictions is not None:
        raise ValueError("got predictor= and predictions=; pass the model or its out-of-sample predictions, not both.")
    source = {"seed": seed}
    if estimand.solver == "bootstrap":
        names_of = [*estimand.outcome_columns, *estimand.covariate_columns]
        source["frames"] = rows.labeled[names_of], rows.unlabeled[[*estimand.covariate_columns]]
    if stream is not None:
        surrogate = read_predictions(rows, stream_columns(predictor, predictions, compat, estimand.solver), estimand)
        source |= read_stream(estimand, rows.labeled, stream, predictions)
    elif len(rows.unlabeled) and has_events:
        if predictions is not None:
            surrogate = read_predictions(rows, predictions, estimand)
        elif predictor is not None:
            surrogate = cross_fit(
                predictor,
                rows.labeled[names],
                y,
                rows.unlabeled[names],
                folds,
                seed,
                thresholds=quantile_thresholds(y, estimand.q) if estimand.surrogate == "distribution" else None,
                groups=arrays.clusters_labeled,
                groups_unlabeled=arrays.clusters_unlabeled,
                strata=arrays.strata_labeled,
            )
    elif has_events and (predictor is not None or predictions is not None):
        notes.append(
            Diagnostic(
                "no_unlabeled_rows",
                "there are no unlabeled rows, so predictions cannot help; the answer is the classical one.",
            )
        )
    if (
        surrogate is not None
        and arrays.balanced is not None
        and estimand.solver == "scores"
        and estimand.model.is_linear
    ):
        surrogate = _correct(surrogate, y, arrays)
    if surrogate is None:
        weight = 0.0
    elif weight == "auto" and design.propensity is not None:
        weight = 1.0
    f_labeled, f_unlabeled = (surrogate.f_labeled, surrogate.f_unlabeled) if surrogate else (None, None)
    if surrogate:
        estimand.check_predictions(f_labeled, "labeled")
        if len(f_unlabeled):
            estimand.check_predictions(f_unlabeled, "unlabeled")
    problem = Problem(
        estimand,
        estimand.parameters(columns),
        y,
        X_labeled,
        f_labeled=f_labeled,
        std_error=std_error,
        reference=reference,
        compat=compat,
        is_cross_fitted=predictor is not None or isinstance(predictions, Surrogate),
        columns=columns,
        **{"X_unlabeled": X_unlabeled, "f_unlabeled": f_unlabeled, **source},
        **arrays.of_problem,
        **read_distribution(surrogate),
    )
    answer = solve(problem, weight)
    notes += diagnose(problem, answer)
    source = surrogate.source if surrogate else "none"
    return InferenceResult.of(
        problem,
        answer,
        level=level,
        source=source,
        diagnostics=notes,
        design=design,
        order=rows.order,
        inclusion=arrays.inclusion,
    )


def _correct(surrogate: Surrogate, y: np.ndarray, arrays: DesignArrays) -> Surrogate:
    """Predictions that are right on average given the estimated probability."""
    f_labeled, f_unlabeled = correct_predictions(
        y, surrogate.f_labeled, surrogate.f_unlabeled, arrays.weights_labeled, arrays.balanced
    )
    source = f"{surrogate.source}; corrected along the estimated probabilities"
    return replace(surrogate, f_labeled=f_labeled, f_unlabeled=f_unlabeled, source=source)


def _needs_features(predictor: Any, design: Design, rows: Rows) -> bool:
    """Something will be fitted on features, and does not bring its own list of them."""
    if not len(rows.unlabeled):
        return False
    return predictor is not None or (design.propensity is not None and design.features is None)


def _check_options(std_error: str, reference: str, level: float, compat: str | None) -> None:
    for name, got, known in (
        ("std_error", std_error, STD_ERRORS),
        ("reference", reference, ("t", "normal")),
        ("compat", compat, (None, *PEERS)),
    ):
        if got not in known:
            raise ValueError(f"{name} got {got!r}; known are {', '.join(map(repr, known))}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}; write 0.95 for 95%.")


def _check_outcome(y: np.ndarray, P: int, estimand: Estimand) -> None:
    if not np.isfinite(y).all():
        raise ValueError(
            f"the outcome of {str(estimand)!r} is not finite on {int((~np.isfinite(y)).sum())} labeled rows; "
            "check the domain of its transformation (the logarithm of zero?)."
        )
    if len(y) < P + 2:
        raise ValueError(
            f"{len(y)} labeled rows are too few for {str(estimand)!r} with {P} coefficient(s); at least "
            f"{P + 2} are needed. Label more rows or drop covariates."
        )
    flat = np.ptp(y, axis=0) == 0
    is_share = isinstance(estimand, Mean) and estimand.by is None and y.ndim == 1 and y[0] in (0, 1)
    if np.any(flat) and not is_share:  # a share has an exact interval without any event
        which = "" if y.ndim == 1 else f" of {estimand.outcome_columns[int(np.argmax(flat))]!r}"
        value = y[0] if y.ndim == 1 else y[0, int(np.argmax(flat))]
        raise ValueError(
            f"all {len(y)} labeled outcomes{which} equal {value:g}: they show no variation to judge uncertainty by, "
            "and an interval of width zero would be false. Label more rows."
        )


def _row_notes(rows: Rows) -> list[Diagnostic]:
    if not rows.n_unused_labels:
        return []
    return [
        Diagnostic(
            "unused_labels",
            f"{rows.n_unused_labels} rows of unlabeled= carry an outcome; it was not used. "
            "Move them to labeled= if they were sampled at random too.",
        )
    ]
