"""Estimated probabilities of being labeled, made good where the model that estimated them is wrong.

Weights of labeled rows are tilted until the estimated log-odds, and their square, have the mean among labeled rows that
they have among all rows; predictions are corrected by their regression on the two. The answer is then right if the
error of the predictions is near a parabola in that one score, even where the probabilities are a wrong function of it
and the predictions are biased: a third chance beside the two of AIPW.

Sources: Deville & Sarndal (1992), doi:10.1080/01621459.1992.10475217 (tilting); Little & An (2004), Statistica Sinica
14, 949-968 (regression on the propensity score).
Measured on rows where both models are wrong (true probabilities level off where the logistic model's do not, the error
of the predictions is a parabola in x; nominal .90, 300 to 400 repetitions): about 200 labels of 1,200 rows, bias in
standard errors .27 -> .20, coverage .86 -> .88, mean standard error .079 -> .047; 50 of 300 rows, coverage .84 -> .85,
.154 -> .101. With the true probabilities plain AIPW covers .91 there, with the true regression as predictions .90, with
neither .71 at 4,800 rows.
"""

from __future__ import annotations

import numpy as np

FLAT = 0.05
"""Standard deviation of log-odds below which they say nothing that could be balanced."""
SURE = 0.95
"""Probabilities are cut off here, so that rows which were labeled almost surely have no far-out odds."""
MAX_STEPS = 50


def score_basis(probability: np.ndarray, degree: int) -> np.ndarray:
    """(R, degree + 1) powers of the standardised log-odds of probabilities (R,), the constant first."""
    s = _log_odds(probability)
    return ((s - s.mean()) / s.std())[:, None] ** np.arange(degree + 1)


def balance(
    weights: np.ndarray, probability: np.ndarray, weights_all: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of labeled rows under which the score has the mean and the mean square that it has among all rows.

    Args:
        weights: (n,) of labeled rows, survey weight over probability.
        probability: (n + N,) estimated, labeled rows first.
        weights_all: (n + N,) survey weights.
    Returns:
        (n,) weights of mean one, and the (n + N, 2 or 3) basis that is balanced; the weights as they came and None
        where probabilities are all but constant, or no weights exist (no labeled row on one side of the average).
    """
    n = len(weights)
    if _log_odds(probability).std() < FLAT:
        return weights, None
    for degree in (2, 1):
        Z = score_basis(probability, degree)
        tilted = tilt(weights, Z[:n, 1:], weights_all @ Z[:, 1:] / weights_all.sum())
        # Weights that must be bent further than this to balance say that the two kinds of rows hardly overlap.
        if tilted is not None and _worth(tilted) > 0.5 * _worth(weights):
            return tilted, Z
    return weights, None


def tilt(weights: np.ndarray, Z: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Weights times exp(Z slope), of mean 1, with weighted mean `target` (k,) of Z (n, k); None if there are none."""
    start = weights / weights.sum()
    slope, best = np.zeros(Z.shape[1]), np.inf
    off = Z - target
    step = np.zeros_like(slope)
    for _ in range(MAX_STEPS):
        power = off @ slope
        w = start * np.exp(power - power.max())
        value = np.log(w.sum()) + power.max()  # convex in the slope; its minimum balances
        w /= w.sum()
        if value > best + 1e-12:
            step = step / 2
            slope = slope - step
            continue
        best, gradient = value, w @ off
        if np.abs(gradient).max() < 1e-10:
            return w * len(w)
        hessian = (off - gradient).T @ (w[:, None] * (off - gradient))
        if np.linalg.cond(hessian) > 1e10:
            return None
        step = -np.linalg.solve(hessian, gradient)
        slope = slope + step
    return None


def correct_predictions(
    y: np.ndarray, f_labeled: np.ndarray, f_unlabeled: np.ndarray, weights: np.ndarray, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions plus what a weighted regression of y - f on the basis Z (n + N, k) adds to them.

    A labeled row is corrected by the regression on the other rows, so that no prediction has seen its own label.
    """
    n = len(y)
    L, U = Z[:n], Z[n:]
    lever = np.linalg.solve(L.T @ (weights[:, None] * L), (weights[:, None] * L).T)  # (k, n)
    rest = y - f_labeled
    gamma = lever @ rest
    own = np.einsum("nk,kn->n", L, lever)
    own = own if y.ndim == 1 else own[:, None]
    alone = (rest - L @ gamma) / np.maximum(1 - own, 0.05)  # residual of a row that its own fit has not seen
    return y - alone, f_unlabeled + U @ gamma


def _log_odds(probability: np.ndarray) -> np.ndarray:
    p = np.minimum(probability, SURE)
    return np.log(p / (1 - p))


def _worth(weights: np.ndarray) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())
