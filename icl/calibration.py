"""The softmax temperature under which predictions of labelled rows, made out of context, score best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

# A factor this far from 1, either way, costs half a nat in total: a few rows do not move the temperature far.
_TYPICAL_FACTOR = 1.25
_FURTHEST_FACTOR = 4.0


def best_temperature(log_score: Callable[[float], np.ndarray]) -> float:
    """The factor for the softmax temperature that maximises the sum of log scores, held back towards 1.

    Args:
        log_score: factor -> (n,) log-probabilities or log densities of the labels of n rows that were predicted
            from contexts without them.
    Returns:
        a factor between 1/4 and 4.
    Source:
        Temperature scaling, Guo et al. (2017), arXiv:1706.04599; here on cross-validated answers and with a
        log-normal prior in place of a validation set.
    """

    def loss(log_factor: float) -> float:
        # One row may be impossible under every temperature; it shall not decide.
        total = np.maximum(log_score(float(np.exp(log_factor))), -50.0).sum()
        return 0.5 * (log_factor / np.log(_TYPICAL_FACTOR)) ** 2 - total

    reach = np.log(_FURTHEST_FACTOR)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
