"""R package ipd: `pspa` (weight "coordinate"), `chen` (weight "matrix") and `ppi` (weight 1 of a linear model).

PSPA takes one Newton step from the labeled estimate, with scores of predictions around it and weights clipped to
[0, 1]; Chen-Chen takes scores of predictions around the solution on all rows. Neither corrects for small samples.
Sources: Miao et al. (2023), arXiv:2311.14220; Gronsbell et al. (2024), arXiv:2411.19908.
"""

from __future__ import annotations

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.fit import inverse
from icl.inference.engine.problem import as_columns
from icl.inference.engine.rectify import rectify


def solve_like_ipd(parts: Contributions, weight: str | float) -> Rectified:
    """The answer of R ipd; its interval is estimate -+ z std_error."""
    problem = parts.problem
    if not problem.sampling.is_plain:
        raise ValueError("compat='ipd' knows no weights of rows, clusters or strata; drop compat or design.")
    if problem.estimand.surrogate == "distribution":
        raise ValueError("compat='ipd' is for means and regressions; drop compat for quantiles.")
    if weight == "coordinate":
        return _pspa(parts)
    if weight == "matrix":
        return _chen(parts)
    if weight != 0 and (weight != 1 or not problem.model.is_linear):
        raise ValueError(
            f"compat='ipd' with weight={weight!r} and {problem.estimand} is not reproduced; use 'coordinate' (pspa), "
            "'matrix' (chen), 0, or 1 for a linear model."
        )
    return rectify(parts, weight)


def _pspa(parts: Contributions) -> Rectified:
    problem = parts.problem
    model, n, N = problem.model, len(problem.y), problem.n_unlabeled
    XL, XU, theta = problem.X_labeled, problem.X_unlabeled, parts.labeled_y.estimate
    Y, F, G = problem.rows_y.Y, problem.rows_f.Y, as_columns(problem.f_unlabeled)

    def moments(at: np.ndarray) -> tuple[np.ndarray, ...]:
        s, s_hat, s_u = -model.scores(XL, Y, at), -model.scores(XL, F, at), -model.scores(XU, G, at)
        centered, centered_hat = s - s.mean(axis=0), s_hat - s_hat.mean(axis=0)
        P = s.shape[1]
        M1, M2, M3 = (np.cov(v.T).reshape(P, P) for v in (s, s_hat, s_u))
        return s.mean(axis=0), s_hat.mean(axis=0), s_u.mean(axis=0), M1, M2, M3, centered.T @ centered_hat / (n - 1)

    def hessian(at: np.ndarray, omega: np.ndarray) -> np.ndarray:
        A_L, A_U = model.sums(XL, Y, None, at)[1], model.sums(XU, G, None, at)[1]
        if model.is_linear:
            return (A_L + A_U) / (n + N)
        return A_L / n + np.diag(omega) @ (A_U / N - A_L / n)

    m, m_hat, m_u, M1, M2, M3, M4 = moments(theta)
    A_L = inverse(model.sums(XL, Y, None, theta)[1] / n)
    top, bottom = np.diag(A_L @ M4 @ A_L), np.diag(A_L @ (M2 + n / N * M3) @ A_L)
    omega = np.clip(top / bottom, 0, 1)
    A = hessian(theta, omega)
    estimate = theta - np.linalg.solve(A, m + omega * (m_u - m_hat))
    # The covariance is taken at the new estimate, under the old weights. The peer's Hessian of a GLM and its cross term
    # are not symmetric, and it multiplies by the former twice without a transpose: the diagonal is what it prints.
    _, _, _, M1, M2, M3, M4 = moments(estimate)
    w, bread = np.diag(omega), np.linalg.inv(hessian(estimate, omega))
    covariance = bread @ (M1 + w @ (M2 + n / N * M3) @ w - 2 * w @ M4) @ bread / n
    return Rectified("coordinate", estimate, (covariance + covariance.T) / 2, np.inf, omega, tuned=True)


def _chen(parts: Contributions) -> Rectified:
    problem = parts.problem
    model, n, N = problem.model, len(problem.y), problem.n_unlabeled
    rows_y, rows_f = problem.rows_y, problem.rows_f
    beta, gamma = parts.labeled_y.estimate, parts.all_f.estimate
    D1, D2 = (model.sums(rows_y.X, r.Y, None, at)[1] / n for r, at in ((rows_y, beta), (rows_f, gamma)))
    s, s_hat = model.scores(rows_y.X, rows_y.Y, beta), model.scores(rows_f.X, rows_f.Y, gamma)
    C11, C12, C22 = s.T @ s / n, s.T @ s_hat / n, s_hat.T @ s_hat / n
    bread = inverse(D1)
    slope = bread @ C12 @ inverse(C22)
    W = slope @ D2
    estimate = beta + W @ (gamma - parts.labeled_f.estimate)
    covariance = (bread @ C11 @ bread - N / (n + N) * slope @ C12.T @ bread) / n
    return Rectified("matrix", estimate, covariance, np.inf, np.diag(W), tuned=True)
