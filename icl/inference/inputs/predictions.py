"""Predictions as the caller gave them -> arrays that belong to the rows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np

from icl.inference.checks import Diagnostic
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand
from icl.inference.estimands.composition import predicted_classes
from icl.inference.frames import as_pandas, is_name, refuse_times, require_columns
from icl.inference.inputs.cross_fit import check_predictor, finite
from icl.inference.inputs.design import Design
from icl.inference.inputs.leaks import feature_notes
from icl.inference.inputs.outcome import check_scale
from icl.inference.inputs.sample import Sample, in_order_of


def read_predictions(sample: Sample, predictions: Any, estimand: Estimand) -> Surrogate:
    n, N, K = len(sample.labeled), len(sample.unlabeled), estimand.n_responses
    each = "one number" if K == 1 else f"{K} numbers"
    if isinstance(predictions, Surrogate):
        sizes = len(predictions.f_labeled), len(predictions.f_unlabeled)
        if sizes != (n, N):
            raise ValueError(f"predictions= was cross-fitted for {sizes} labeled and unlabeled rows; there are {n, N}.")
        return predictions
    if names := column_names(predictions, sample.labeled.columns, n + N):
        for part, which in ((sample.labeled, "labeled rows"), (sample.unlabeled, "unlabeled rows")):
            require_columns(part, names, which, "as predictions")
        first = [part[names[0]] for part in (sample.labeled, sample.unlabeled)]
        if len(names) == 1 and (named := predicted_classes(estimand, first)):
            values = named
        else:
            columns = [[_numbers(part[c]) for c in names] for part in (sample.labeled, sample.unlabeled)]
            values = [
                some[0][:, None] if len(names) == 1 else np.column_stack(some) for some in columns
            ]  # else no copy
        source = f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names))}, taken to be out-of-sample"
    elif isinstance(predictions, tuple):
        if len(predictions) != 2:
            raise ValueError(f"predictions= got {len(predictions)} arrays; a pair (labeled, unlabeled) was expected.")
        parts = zip((sample.index[:n], sample.index[n:]), predictions, ("labeled", "unlabeled"), strict=True)
        values = [_numbers(in_order_of(index, some, f"predictions= of {which} rows")) for index, some, which in parts]
        source = "arrays, taken to be out-of-sample"
    else:
        array = _numbers(sample.in_order_of_rows(predictions, "predictions="))
        if array.ndim not in (1, 2) or len(array) != n + N:
            raise ValueError(f"predictions= got shape {array.shape}; expected {each} for each of the {n + N} rows.")
        values, source = np.split(array[sample.order], [n]), "an array, taken to be out-of-sample"
    checked = []
    for values_of, size, which in ((values[0], n, "labeled"), (values[1], N, "unlabeled")):
        f, got = values_of, values_of.shape
        if f.ndim == 2 and f.shape[1] == 1 and K == 1:
            f = f[:, 0]
        if estimand.surrogate == "classes" and f.ndim == 2 and f.shape[1] == K + 1:
            f = f[:, 1:]  # all classes were given, base first; the base is what the others leave over
        expected = (size,) if K == 1 and estimand.surrogate != "classes" else (size, K)
        if f.shape != expected:
            classes = getattr(estimand, "classes", None) or ()
            also = f" or {(size, K + 1)}" if len(classes) > K else ""
            also += f", a column for each of {classes}" if classes else ""
            raise ValueError(f"predictions= got shape {got} for the {size} {which} rows; expected {expected}{also}.")
        finite(f, f"predictions= holds numbers for the {which} rows, of which")
        check_scale(f, f"predictions= for the {which} rows")
        checked.append(f)
    return Surrogate(checked[0], checked[1], source)


def column_names(predictions: Any, columns: Collection, n_rows: int) -> list:
    """The columns that `predictions` names: one name, or a list of them; empty if it holds values.

    Numbers may be names too: a list of them is one of columns if all of them are and there are fewer than rows.
    """
    if is_name(predictions):
        return [predictions]
    if not isinstance(predictions, list) or not predictions or not all(map(is_name, predictions)):
        return []
    are_text = all(isinstance(name, str) for name in predictions)
    return predictions if are_text or (len(predictions) < n_rows and all(c in columns for c in predictions)) else []


def _numbers(values: Any) -> np.ndarray:
    values = as_pandas(values)
    refuse_times(values, "predictions=")
    try:
        if hasattr(values, "to_numpy"):
            return values.to_numpy(dtype=float, na_value=np.nan)
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as reason:
        raise ValueError(
            f"predictions= holds values that are not numbers ({reason}). For a class, pass its predicted probability."
        ) from reason


def features_seen(
    sample: Sample,
    estimand: Estimand,
    y: np.ndarray,
    predictor: Any,
    features: Sequence[Hashable] | None,
    design: Design,
) -> tuple[list, list[Diagnostic]]:
    """Columns that the predictor, and a propensity model without a list of its own, may see, and notes on them."""
    for model in predictor if isinstance(predictor, (list, tuple)) else [predictor]:
        if model is not None:
            check_predictor(model)
        if hasattr(model, "refuse_seen_rows"):
            # A model fine-tuned on these rows knows their labels, and no cross-fitting undoes that.
            model.refuse_seen_rows(sample.labeled, sample.unlabeled)
    if not len(sample.unlabeled) or (predictor is None and not design.needs_features):
        return [], []
    columns = feature_columns(sample, estimand, features, design)
    seen, notes = feature_notes(sample, y, columns, design, chosen=features is not None)
    if not seen:
        raise ValueError(f"there is no column left that the predictor could see. {notes[0].message}")
    return seen, notes


def feature_columns(sample: Sample, estimand: Estimand, features: Sequence[Hashable] | None, design: Design) -> list:
    hidden = set(estimand.outcome_columns)
    columns: list
    if features is None:
        columns = [name for name in sample.labeled.columns if name not in hidden and name not in design.columns]
        absent = [name for name in columns if name not in sample.unlabeled.columns]
        if absent:
            raise ValueError(
                f"the unlabeled rows have no column {absent}, which the labeled rows have. Name the columns "
                "that the predictor may see with features=[...]."
            )
    else:
        if isinstance(features, str):
            raise ValueError(f"features= got the string {features!r}; pass a list of columns.")
        columns = [*features]
        leaks = [name for name in columns if name in hidden]
        if leaks:
            raise ValueError(f"features= contains the outcome {leaks}; remove it, the predictor must not see it.")
        for part, which in ((sample.labeled, "labeled rows"), (sample.unlabeled, "unlabeled rows")):
            require_columns(part, columns, which, "as features")
    if not columns:
        raise ValueError("there is no column that the predictor could see; add covariates or pass predictions=.")
    return columns
