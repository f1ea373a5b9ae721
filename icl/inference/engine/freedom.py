"""Degrees of freedom of the t reference."""

from __future__ import annotations

import numpy as np

from icl.inference.engine.contributions import Contributions, power_of_two
from icl.inference.engine.sandwich import effective_units
from icl.inference.engine.shares import is_one_hot


def degrees_of_freedom(parts: Contributions, tuned: bool) -> float:
    """Of the t reference: counts independent units; with uneven weights the share of them that these are worth."""
    problem, weights = parts.problem, parts.problem.sampling.weights_labeled
    if problem.reference != "t":
        return np.inf
    if problem.sampling.clusters_labeled is not None:
        return float(_of_labeled_clusters(parts, tuned).min())
    n = len(problem.y)
    df: float = problem.estimand.degrees_of_freedom(n, problem.n_fitted, tuned)
    if weights is not None:
        df *= (effective_units(weights) - 1) / max(n - 1, 1)
    return max(df, 1)


def group_df(parts: Contributions, tuned: bool) -> np.ndarray | None:
    """(P,) of the means of groups, each from its own rows, as if it were analysed alone; None for other designs.

    Groups of 2 or 3 labels covered .866 with n - P for all of them (nominal .90). A weight that all groups share costs
    each the same share of its degrees of freedom.
    """
    problem, X = parts.problem, parts.problem.X_labeled
    has_own = problem.std_error_kind in ("HC2", "jackknife") and problem.reference == "t" and X.shape[1] > 1
    if not has_own or not problem.model.is_linear or not is_one_hot(X):
        return None
    w = np.ones(len(X)) if problem.sampling.weights_labeled is None else problem.sampling.weights_labeled
    own = np.array([effective_units(w[column == 1]) for column in X.T]) - 1
    spent = tuned / max(len(X) - X.shape[1], 1)
    return np.tile(np.maximum(own * (1 - spent), 1), len(problem.terms) // X.shape[1])


def cluster_df(parts: Contributions, tuned: bool, labeled: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(P,) degrees of freedom of variances (P,) that labeled clusters and others add up to (Satterthwaite 1946)."""
    df = np.broadcast_to(_of_labeled_clusters(parts, tuned), labeled.shape)
    if not others.any():
        return df
    sampling = parts.problem.sampling
    ids = sampling.clusters_unlabeled[~np.isin(sampling.clusters_unlabeled, sampling.clusters_labeled)]
    worth = max(effective_units(np.ones(len(ids)), ids) - 1, 1)
    unit = power_of_two(labeled + others)  # squares of variances must not leave the range of floats
    labeled, others = labeled / unit, others / unit
    pieces = labeled**2 / df + others**2 / worth
    return np.divide((labeled + others) ** 2, pieces, out=np.array(df), where=pieces > 0)


def _of_labeled_clusters(parts: Contributions, tuned: bool) -> np.ndarray:
    """A tuned weight costs as large a share of them as it costs of clusters that count alike."""
    G = parts.problem.n_labeled_units
    return np.maximum(parts.cluster_worth * (G - 1 - tuned) / max(G - 1, 1), 1)
