"""Predictions as the caller gave them -> arrays that belong to the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icl.inference.checks import require_columns
from icl.inference.estimands import Estimand
from icl.inference.inputs.cross_fit import Surrogate, finite
from icl.inference.inputs.design import Design
from icl.inference.inputs.sample import Rows


def read_distribution(surrogate: Surrogate | None) -> dict[str, np.ndarray]:
    if surrogate is None or not surrogate.has_distribution:
        return {}
    return {
        "cdf_thresholds": surrogate.thresholds,
        "cdf_labeled": surrogate.cdf_labeled,
        "cdf_unlabeled": surrogate.cdf_unlabeled,
    }


def read_predictions(rows: Rows, predictions: Any, estimand: Estimand) -> Surrogate:
    n, N, K = len(rows.labeled), len(rows.unlabeled), estimand.n_responses
    each = "one number" if K == 1 else f"{K} numbers"
    if isinstance(predictions, Surrogate):
        sizes = len(predictions.f_labeled), len(predictions.f_unlabeled)
        if sizes != (n, N):
            raise ValueError(f"predictions= was cross-fitted for {sizes} labeled and unlabeled rows; there are {n, N}.")
        return predictions
    names = [predictions] if isinstance(predictions, str) else predictions
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        for part, which in ((rows.labeled, "labeled rows"), (rows.unlabeled, "unlabeled rows")):
            require_columns(part, names, which, "as predictions")
        values = [[_numbers(part[c]) for c in names] for part in (rows.labeled, rows.unlabeled)]
        values = [part[0][:, None] if len(names) == 1 else np.column_stack(part) for part in values]  # else no copy
        source = f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names))}, taken to be out-of-sample"
    elif isinstance(predictions, tuple):
        if len(predictions) != 2:
            raise ValueError(f"predictions= got {len(predictions)} arrays; a pair (labeled, unlabeled) was expected.")
        values, source = [_numbers(part) for part in predictions], "arrays, taken to be out-of-sample"
    else:
        array = _numbers(predictions)
        if array.ndim not in (1, 2) or len(array) != n + N:
            raise ValueError(f"predictions= got shape {array.shape}; expected {each} for each of the {n + N} rows.")
        values, source = np.split(array[rows.order], [n]), "an array, taken to be out-of-sample"
    checked = []
    for part, size, which in ((values[0], n, "labeled"), (values[1], N, "unlabeled")):
        got = part.shape
        if part.ndim == 2 and part.shape[1] == 1 and K == 1:
            part = part[:, 0]
        if estimand.surrogate == "classes" and part.ndim == 2 and part.shape[1] == K + 1:
            part = part[:, 1:]  # all classes were given, base first; the base is what the others leave over
        expected = (size,) if K == 1 and estimand.surrogate != "classes" else (size, K)
        if part.shape != expected:
            also = (
                f" or {(size, K + 1)}, a column for each of {estimand.classes}" if hasattr(estimand, "classes") else ""
            )
            raise ValueError(f"predictions= got shape {got} for the {size} {which} rows; expected {expected}{also}.")
        finite(part, f"predictions= holds numbers for the {which} rows, of which")
        checked.append(part)
    return Surrogate(*checked, source)


def _numbers(values: Any) -> np.ndarray:
    try:
        if hasattr(values, "to_numpy"):
            return values.to_numpy(dtype=float, na_value=np.nan)
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as reason:
        raise ValueError(
            f"predictions= holds values that are not numbers ({reason}). For a class, pass its predicted probability."
        ) from reason


def feature_columns(rows: Rows, estimand: Estimand, features: Sequence[str] | None, design: Design) -> list:
    hidden = set(estimand.outcome_columns)
    if features is None:
        columns = [name for name in rows.labeled.columns if name not in hidden and name not in design.columns]
        absent = [name for name in columns if name not in rows.unlabeled.columns]
        if absent:
            raise ValueError(
                f"the unlabeled rows have no column {absent}, which the labeled rows have. Name the columns "
                "that the predictor may see with features=[...]."
            )
    else:
        if isinstance(features, str):
            raise ValueError(f"features= got the string {features!r}; pass a list of columns.")
        columns = list(features)
        leaks = sorted(hidden.intersection(columns))
        if leaks:
            raise ValueError(f"features= contains the outcome {leaks}; remove it, the predictor must not see it.")
        for part, which in ((rows.labeled, "labeled rows"), (rows.unlabeled, "unlabeled rows")):
            require_columns(part, columns, which, "as features")
    if not columns:
        raise ValueError("there is no column that the predictor could see; add covariates or pass predictions=.")
    return columns
