"""Answers from summary statistics: three estimates and their covariance, where nobody has the rows.

theta = beta + W (eta_U - eta_L), the identity of `icl.inference.engine.rectify`, with W from covariances that somebody
published, or that a bootstrap gave. Source: PSPS (2024), arXiv:2405.20039; for one parameter of a genome-wide scan the
same is POP-GWAS (2024, Nature Genetics). Deviation from the programs of both: they use the transpose of W, which is
another matrix as soon as there are two parameters.
"""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified, name_of
from icl.inference.engine.weights import optimal_weight


def combine_estimates(
    beta: float | np.ndarray,
    eta_labeled: float | np.ndarray,
    eta_unlabeled: float | np.ndarray,
    covariance: np.ndarray,
    weight: str | float = "matrix",
) -> Rectified:
    """The rectified estimate of P parameters, with `std_error`, `interval(level)` and `p_value(null)` (normal).

    Args:
        beta: (P,) from labeled outcomes.
        eta_labeled, eta_unlabeled: (P,) the same estimator fed with predictions, on labeled and on unlabeled rows.
        covariance: (3P, 3P) of the three, in this order; where rows are independent its blocks between unlabeled rows
            and the others are zero.
        weight: "matrix" (the smallest variance in every direction), "coordinate", "ppi++" (one scalar) or a number.
    Raises:
        ValueError: for shapes that do not fit, and a covariance that is not symmetric and positive semidefinite.
    """
    parts = [np.atleast_1d(np.asarray(v, dtype=float)) for v in (beta, eta_labeled, eta_unlabeled)]
    P, joint = len(parts[0]), np.asarray(covariance, dtype=float)
    if any(part.shape != (P,) for part in parts) or joint.shape != (3 * P, 3 * P):
        raise ValueError(
            f"got estimates of shapes {[part.shape for part in parts]} and a covariance of shape {joint.shape}; "
            f"expected three of shape ({P},) and {(3 * P, 3 * P)}, ordered beta, eta_labeled, eta_unlabeled."
        )
    scale = np.abs(joint).max()
    if not np.allclose(joint, joint.T, atol=1e-10 * scale) or np.linalg.eigvalsh(joint).min() < -1e-8 * scale:
        raise ValueError(
            "covariance= is not symmetric and positive semidefinite; pass variances and covariances, not correlations "
            "or standard errors, of the three estimates together."
        )
    # What the weight multiplies, and how it moves with beta.
    contrast = np.hstack([np.zeros((P, P)), -np.eye(P), np.eye(P)])
    total = contrast @ joint @ contrast.T
    W = optimal_weight(weight, -(joint[:P] @ contrast.T), total)
    through = np.hstack([np.eye(P), np.zeros((P, 2 * P))]) + W @ contrast
    value = float(W[0, 0]) if (np.diag(W) == W[0, 0]).all() else np.diag(W)
    estimate = parts[0] + W @ (parts[2] - parts[1])
    return Rectified(
        name_of(weight), estimate, through @ joint @ through.T, np.inf, value, tuned=isinstance(weight, str)
    )
