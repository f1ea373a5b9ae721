"""The target: one column of labels, checked, as class codes or as numbers."""

from __future__ import annotations

import warnings
from numbers import Number
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.exceptions import DataConversionWarning

from icl.tables.encoder import as_pandas
from icl.tables.exact import exact_offset

if TYPE_CHECKING:
    import pandas as pd

# A prediction may lie some 20 standard deviations out, which float64 must still hold.
LARGEST = 1e306


def as_column(y) -> pd.Series | np.ndarray:
    """y as one column without missing values."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None: pass one label per row.")
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        y = y.iloc[:, 0]
    y = as_pandas(y)
    if not isinstance(y, pd.Series):
        if isinstance(y, np.ma.MaskedArray):
            y = np.ma.filled(y.astype(object), np.nan)
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            said = "A column-vector y was passed when a 1d array was expected; pass y.ravel()."
            warnings.warn(said, DataConversionWarning, stacklevel=3)
            y = y.ravel()
        if y.ndim != 1:
            raise ValueError(
                f"y should be a 1d array, got an array of shape {y.shape} instead. Fit one estimator per target."
            )
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y is {y.dtype}. Fit one estimator per real part.")
    n_missing = int(pd.isna(y).sum())
    if n_missing:
        raise ValueError(
            f"Input y contains NaN: {n_missing} of {len(y)} labels are missing. Drop these rows before fit "
            f"(X[y.notna()], y.dropna()); to use unlabelled rows as well, see icl.inference."
        )
    return y


def class_codes(y: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted classes (C,), and the code (n,) int64 of each label among them."""
    if isinstance(y, pd.Series):
        extension = pd.api.types.is_extension_array_dtype(y.dtype)
        values = np.asarray(y.astype(object).infer_objects() if extension else y)
    else:
        values = y
    if values.dtype.kind == "f" and len(values):
        _refuse_infinity(values)
        amounts = values[np.mod(values, 1) != 0]
        if len(amounts):
            raise ValueError(
                f"Unknown label type: continuous. y holds {amounts[0]}, which names no class; use ICLRegressor for "
                f"amounts, or turn the values into text if they are labels."
            )
    try:
        classes, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(v).__name__ for v in values})
        raise ValueError(
            f"Unknown label type: y mixes {' and '.join(kinds)}, which have no common order; use y.astype(str)."
        ) from error
    if len(classes) < 2:
        held = f"the one class {classes.tolist()[0]!r}" if len(classes) else "no labels"
        raise ValueError(
            f"y holds {held}; a classifier needs at least 2 classes among the labelled rows. Add rows of another class."
        )
    return classes, codes.astype(np.int64)


def as_numbers(y: pd.Series | np.ndarray) -> np.ndarray:
    """(n,) float64 targets, finite and not all equal."""
    strange = [v for v in y if not isinstance(v, Number)] if y.dtype == object else list(y[:1])
    try:
        if y.dtype.kind in "mM" or any(isinstance(v, str) for v in strange):
            raise TypeError
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinity, which is refused below
            values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        example = repr(getattr(strange[0], "item", lambda: strange[0])()) if strange else "a value out of range"
        raise ValueError(
            f"y holds {example} ({y.dtype}), but a regressor needs numbers. Use ICLClassifier for labels, or convert "
            f"y, dates for instance to days."
        ) from error
    _refuse_infinity(values)
    if (offset := exact_offset(pd.Series(y), values)) is not None:
        raise ValueError(
            f"y holds numbers that differ beyond the 15 digits of float64, {len(np.unique(values))} different ones are "
            f"left of more. Convert y to its distance from a number of like size, such as y - {offset}."
        )
    if np.abs(values).max(initial=0.0) > LARGEST:
        raise ValueError(
            f"y holds {values[np.abs(values).argmax()]:g}, which leaves no room for predictions beyond it. Use larger "
            f"units, so that no value exceeds {LARGEST:g}."
        )
    if len(values) < 2 or np.all(values == values[0]):
        held = f"the one value {values[0]:g}" if len(values) else "no values"
        raise ValueError(
            f"y holds {held} (n_samples = {len(values)}): there is nothing to predict from a constant target. Pass at "
            f"least 2 labelled rows with different values."
        )
    return values


def _refuse_infinity(values: np.ndarray) -> None:
    if np.isinf(values).any():
        raise ValueError(
            f"Input y contains infinity ({int(np.isinf(values).sum())} of {len(values)} values). Drop these rows, or "
            f"replace the values by a finite bound."
        )


# Whole numbers up to this many are taken for classes. Not scikit-learn's `type_of_target`: to it whole numbers are
# classes however many there are, ages and prices among them, and it warns where most labels differ.
MOST_CLASS_NUMBERS = 10


def choose_task(y: pd.Series, asked: str) -> tuple[str, str]:
    """The task and the reason, for a person: labels are text, truth values or a few whole numbers."""
    if asked != "auto":
        return asked, "as asked"
    n = y.nunique()
    if y.dtype.kind not in "iuf":
        return "classification", f"{n} different labels"
    values = y.to_numpy(dtype=float)
    whole = bool((values % 1 == 0).all())
    if whole and (n == 2 or (n <= MOST_CLASS_NUMBERS and values.max() - values.min() < MOST_CLASS_NUMBERS)):
        return "classification", f"{n} different whole numbers; amounts? then --task regression"
    return "regression", f"{n:,} different numbers" + (
        "; labels? then --task classification" if whole and n < 50 else ""
    )


def tidy(y: pd.Series) -> pd.Series:
    """Targets without the traces of the missing ones: whole numbers that became floats, truth values objects."""
    y = y.infer_objects()
    if y.dtype.kind == "f" and (y % 1 == 0).all() and y.abs().max() < 2**53:
        return y.astype("int64")
    return y
