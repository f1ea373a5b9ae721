"""The share of an event in another population, of which only predictions are known; see `inputs.transport`."""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.contributions import Contributions

LEAST_CONTRAST = 4.0
"""Difference of mean predictions between the two classes, in standard errors, below which they tell nothing."""


def solve_label_shift(parts: Contributions) -> Rectified:
    """theta = (mean of f among unlabeled rows - m0) / (m1 - m0), m_k the mean of f among labeled rows with y = k.

    Delta method: the three means are independent. With clusters their sums over clusters are, and rows of labeled and
    unlabeled clusters with one id count together.

    Raises:
        ValueError: for an outcome that is not 0 and 1, and predictions that do not tell the classes apart.
    """
    problem = parts.problem
    y, f, sampling = problem.y, problem.f_labeled, problem.sampling
    if y.ndim != 1 or not np.isin(y, (0, 1)).all() or len(problem.terms) != 1:
        raise ValueError(
            f"shift='label' is for the share of one of two classes, not for {str(problem.estimand)!r}; use "
            "Mean(column, event=...), or Transport() for covariate shift."
        )
    w = np.ones(len(y)) if sampling.weights_labeled is None else sampling.weights_labeled
    g = problem.f_unlabeled
    v = np.ones(len(g)) if sampling.weights_unlabeled is None else sampling.weights_unlabeled
    shares = [w * (y == k) / (w * (y == k)).sum() for k in (0, 1)]
    m0, m1 = (float(h @ f) for h in shares)
    mean_u, h_u = float(v @ g / v.sum()), v / v.sum()
    contrast = m1 - m0
    theta = (mean_u - m0) / contrast if contrast else np.nan
    grow = [1 / np.sqrt(np.maximum(1 - h, 1e-9)) for h in shares]
    moves = [h * (f - m) * k for h, m, k in zip(shares, (m0, m1), grow, strict=True)]
    noise = np.sqrt((moves[0] ** 2).sum() + (moves[1] ** 2).sum())
    if not abs(contrast) > LEAST_CONTRAST * noise:
        raise ValueError(
            f"the mean prediction is {m1:.3g} where the event occurred and {m0:.3g} where it did not, a difference of "
            f"less than {LEAST_CONTRAST:g} standard errors: these predictions cannot show its share elsewhere."
        )
    labeled = -(moves[0] * (1 - theta) + moves[1] * theta) / contrast
    unlabeled = h_u * (g - mean_u) / contrast
    if sampling.clusters_labeled is None:
        variance = float((labeled**2).sum() + (unlabeled**2).sum())
    else:
        ids = np.concatenate([sampling.clusters_labeled, sampling.clusters_unlabeled])
        _, code = np.unique(ids, return_inverse=True)
        sums = np.bincount(code, np.concatenate([labeled, unlabeled]))
        variance = float(sums @ sums) * len(sums) / max(len(sums) - 1, 1)
    df = np.inf if problem.reference != "t" else float(max(problem.n_labeled_units - 2, 1))
    return Rectified("label shift", np.array([theta]), np.array([[variance]]), df, 1.0)
