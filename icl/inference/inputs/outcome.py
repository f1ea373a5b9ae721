"""The outcome of the labeled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icl.inference.estimands import Estimand, Mean

if TYPE_CHECKING:
    import pandas as pd


LARGEST = 1e151


def read_outcome(estimand: Estimand, labeled: pd.DataFrame, n_parameters: int) -> np.ndarray:
    """(n,) or (n, K) outcome that is finite, varies, and has enough rows for its P parameters.

    Raises:
        ValueError: where it is not so; a share may lack variation, since it has an exact interval without any event.
    """
    y = estimand.outcome(labeled)
    P = n_parameters // estimand.n_responses
    if not np.isfinite(y).all():
        raise ValueError(
            f"the outcome of {str(estimand)!r} is not finite on {int((~np.isfinite(y)).sum())} labeled rows; "
            "check the domain of its transformation (the logarithm of zero?)."
        )
    check_scale(y, f"the outcome of {str(estimand)!r}")
    if len(y) < P + 2:
        raise ValueError(
            f"{len(y)} labeled rows are too few for {str(estimand)!r} with {P} coefficient(s); at least "
            f"{P + 2} are needed. Label more rows or drop covariates."
        )
    flat = np.ptp(y, axis=0) == 0
    is_share = isinstance(estimand, Mean) and np.isin(y[0] if y.ndim == 1 else y[0][flat], (0, 1)).all()
    if np.any(flat) and not is_share:
        which = "" if y.ndim == 1 else f" of {estimand.outcome_columns[int(np.argmax(flat))]!r}"
        value = y[0] if y.ndim == 1 else y[0, int(np.argmax(flat))]
        if labeled[estimand.outcome_columns[0]].nunique() > 1:
            raise ValueError(
                f"all {len(y)} labeled rows add the same to {str(estimand)!r} ({value:g}), though their outcomes "
                "differ: hardly any lies in the part that it is about, or all there are alike. That shows no variation "
                "to judge uncertainty by, and an interval of width zero would be false. Label more rows, or ask for a "
                "larger part."
            )
        raise ValueError(
            f"all {len(y)} labeled outcomes{which} equal {value:g}: they show no variation to judge uncertainty by, "
            "and an interval of width zero would be false. Label more rows."
        )
    return y


def check_scale(values: np.ndarray, what: str) -> None:
    """ValueError for numbers whose squares, summed, leave the range of floating point, or vanish in it."""
    if not values.size:
        return
    low, high = values.min(axis=0), values.max(axis=0)
    largest, spread = float(max(np.max(high), -np.min(low))), float(np.max(high - low))
    if largest > LARGEST or 0 < spread < 1 / LARGEST:
        raise ValueError(
            f"{what} holds numbers as far as {largest:.1g} with a spread of {spread:.1g}; their variances cannot be "
            "written as floating-point numbers. Change the units, so that the numbers lie nearer to 1."
        )
