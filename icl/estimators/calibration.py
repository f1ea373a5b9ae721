"""The softmax temperature under which predictions of labelled rows, made out of context, score best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar

# A temperature this far from 1, either way, costs half a nat in total: a few rows do not move the temperature far.
# On five tables bundled with scikit-learn (nano, 1 member, 3 splits each) that changed the mean negative log score by
# -0.006 with 30 context rows (worse by 0.047 at most) and by -0.003 with 75 (0.006); 1.5 in its place, by -0.005
# (0.090) and -0.002 (0.009).
_TYPICAL = 1.25
_FURTHEST = 4.0


def best_temperature(log_score: Callable[[float], np.ndarray]) -> float:
    """The softmax temperature that maximises the sum of log scores, held back towards 1.

    Args:
        log_score: temperature -> (n,) log-probabilities or log densities of the labels of n rows that were predicted
            from contexts without them.
    Returns:
        between 1/4 and 4.
    Source:
        Temperature scaling, Guo et al. (2017), arXiv:1706.04599; here on cross-validated answers and with a
        log-normal prior in place of a validation set.
    """

    def loss(log_temperature: float) -> float:
        # One row may be impossible under every temperature; it shall not decide.
        total = np.maximum(log_score(float(np.exp(log_temperature))), -50.0).sum()
        return 0.5 * (log_temperature / np.log(_TYPICAL)) ** 2 - total

    reach = np.log(_FURTHEST)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 0.01})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
