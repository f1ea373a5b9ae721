"""Solve an estimating equation on rows that come in chunks, and sum up what each row contributed.

Memory beyond the rows themselves is one chunk; the rows may come from a file (`icl.inference.inputs.stream`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icl.inference.checks import OptionalArray
from icl.inference.engine.rows import Rows, RowSource, Sums
from icl.inference.estimands.equations import EstimatingEquation

COLLINEAR = 1e-10
"""Smallest singular value, relative to the largest, of a design whose columns were scaled to length one."""
SINGULAR = 1e-13
"""The same for eigenvalues of a Hessian, which are squares, within reach of rounding."""
FAR = 1e-6
"""Spread of a covariate, relative to its size, below which it looks like the intercept."""
MAX_STEPS = 60
LARGE = 50_000
"""Rows beyond which a pass over them is worth saving."""
LONG_STEP = 1e-3
"""Squared length of a step, for each row, beyond which Newton's method is watched."""
PATIENCE = 12
"""Steps after which a solution is suspected to be at infinity; ordinary problems need four to eight."""
FULL_LEVERAGE = 1 - 1e-9


@dataclass(frozen=True)
class Fit:
    """An estimator solved on one set of rows; contributions of rows to it on demand.

    To first order, estimate - truth is the sum over rows of `influence`, so that its outer product is the HC0
    covariance.
    """

    model: EstimatingEquation
    estimate: np.ndarray
    """(P,) the solution."""
    hessian: np.ndarray
    """(P, P) minus the derivative of the summed scores at the solution."""
    total_weight: float

    @cached_property
    def bread(self) -> np.ndarray:
        """(P, P) inverse of the Hessian."""
        return inverse(self.hessian)

    def influence(self, rows: Rows) -> np.ndarray:
        """(R, P) contribution of each row to the estimate."""
        scores: np.ndarray = self.model.scores(rows.X, rows.Y, self.estimate)
        return (scores if rows.weights is None else scores * rows.weights[:, None]) @ self.bread.T

    def leverage(self, rows: Rows) -> OptionalArray:
        """(R,) derivative of the fitted value of a row by its own outcome; None for a model without fitted values."""
        return self.model.leverage(rows.X, rows.weights, self.estimate, self.bread)

    def residual(self, rows: Rows) -> OptionalArray:
        """(R, K) response minus fitted value."""
        return self.model.residual(rows.X, rows.Y, self.estimate)


def solve(
    model: EstimatingEquation,
    rows: RowSource,
    describe: str,
    terms: Sequence[str],
    start: np.ndarray | None = None,
    which: str = "",
) -> Fit:
    """Newton's method, with halved steps where a step was long. Linear models need one step.

    Args:
        describe, terms, which: for messages: the estimand, its P parameters, "labeled" or another word for the rows.
        start: (P,) where to begin; default zero.
    Raises:
        ValueError: where the rows do not identify the parameters, or no finite solution exists.
    """
    P, total = len(terms), rows.total_weight
    is_large = len(rows) > LARGE
    theta = np.zeros(P) if start is None or model.is_linear else np.array(start, dtype=float)
    best = step = None
    for iteration in range(MAX_STEPS):
        # Only a long step can overshoot, so only then is the objective worth its pass over the rows.
        objective = _objective(model, rows, theta) if best is not None else np.nan
        gradient, hessian = _sums(model, rows, theta)
        is_finite = np.isfinite(gradient).all() and np.isfinite(hessian).all() and not np.isinf(objective)
        if not is_finite or (best is not None and objective < best - 1e-9 * abs(best)):
            if step is None:
                raise ValueError(_no_solution(describe, which, len(rows), "scores are not finite at the start"))
            step = step / 2
            theta = theta - step
            continue
        if iteration >= PATIENCE and _runs_away(model, rows, theta):
            raise ValueError(_separated(describe, which, len(rows)))
        step, condition = _newton_step(hessian, gradient, describe, terms, which, len(rows))
        decrement = abs(float(gradient @ step))  # squared length of the step in standard errors, where weights are 1
        best = _objective(model, rows, theta) if decrement > LONG_STEP * total and not model.is_linear else None
        theta = theta + step
        if model.is_linear:
            settled = iteration > 0 or condition < 1e6  # else a second step removes the rounding of the first
        else:
            # Errors are squared by a step: of many rows a step of 1e-4 standard errors leaves less than 1e-10 of them.
            settled = decrement <= (1e-8 if is_large else 1e-16) * P
        if settled:
            if not model.is_linear and not is_large:  # the step changes the Hessian of many rows by nothing
                hessian = _sums(model, rows, theta)[1]
            return Fit(model, theta, hessian, total)
    raise ValueError(_no_solution(describe, which, len(rows), f"Newton's method did not settle in {MAX_STEPS} steps"))


def solve_linear(model: EstimatingEquation, rows: Rows, describe: str, terms: Sequence[str], which: str) -> Fit:
    """Least squares by orthogonal triangulation: for rows in memory, to the last digit where columns are nearly alike.

    `terms` are the p names of the design.
    """
    X, Y = rows.X, rows.Y
    if rows.weights is not None:
        root = np.sqrt(rows.weights)[:, None]
        X, Y = X * root, Y * root
    length = np.sqrt(np.einsum("rp,rp->p", X, X))
    if len(X) < X.shape[1] or not length.all():
        refuse_collinear(length > 0, describe, terms, which, len(X))
    Q, R = np.linalg.qr(X)
    _, singular, Vt = np.linalg.svd(R / length)
    if singular[-1] < COLLINEAR * singular[0]:
        is_fine = np.abs(Vt[-1]) < 1e-3
        spread, size = X.std(axis=0), np.abs(X).max(axis=0)
        far = [name for name, s, m, ok in zip(terms, spread, size, is_fine, strict=True) if not ok and 0 < s < FAR * m]
        refuse_collinear(is_fine, describe, terms, which, len(X), far)
    estimate = np.linalg.solve(R, Q.T @ Y).T.ravel()
    K = Y.shape[1]
    gram = R.T @ R
    return Fit(model, estimate, gram if K == 1 else np.kron(np.eye(K), gram), rows.total_weight)


def inverse(hessian: np.ndarray) -> np.ndarray:
    """Of a symmetric or general square matrix, after its rows and columns were scaled to a unit diagonal."""
    scale = 1 / np.sqrt(np.abs(np.diag(hessian)))
    return scale[:, None] * np.linalg.inv(scale[:, None] * hessian * scale) * scale


def refuse_collinear(
    is_fine: np.ndarray, describe: str, terms: Sequence[str], which: str, n_rows: int, far: Sequence[str] = ()
) -> None:
    """ValueError that names the terms that are not identified, and those `far` from zero for how little they vary."""
    guilty = [name for name, fine in zip(terms, is_fine, strict=True) if not fine] or list(terms)
    if far:
        raise ValueError(
            f"on the {n_rows} {which} rows {list(far)} of {describe!r} lie so far from zero, for how little they vary, "
            "that they cannot be told from the intercept. Subtract a constant first, as center(...) does in a formula."
        )
    raise ValueError(
        f"on the {n_rows} {which} rows the terms {guilty} of {describe!r} are collinear or always zero, so their "
        "coefficients are not identified. Drop one of them, or merge categories that these rows do not contain."
    )


def _sums(model: EstimatingEquation, rows: RowSource, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def of(chunk: Rows) -> Sums:
        with np.errstate(over="ignore", invalid="ignore"):  # an overshot step; the caller sees that it is not finite
            return model.sums(chunk.X, chunk.Y, chunk.weights, theta)

    with np.errstate(over="ignore", invalid="ignore"):
        gradient, hessian = rows.add_up(of)
    return gradient, hessian


def _objective(model: EstimatingEquation, rows: RowSource, theta: np.ndarray) -> float:
    def of(chunk: Rows) -> Sums:
        with np.errstate(over="ignore", invalid="ignore"):
            return (model.objective(chunk.X, chunk.Y, chunk.weights, theta),)

    with np.errstate(over="ignore", invalid="ignore"):
        return rows.add_up(of)[0]


def _runs_away(model: EstimatingEquation, rows: RowSource, theta: np.ndarray) -> bool:
    return rows.add_up(lambda chunk: (int(model.runs_away(chunk.X, theta)),))[0] > 0


def _newton_step(
    hessian: np.ndarray, gradient: np.ndarray, describe: str, terms: Sequence[str], which: str, n_rows: int
) -> tuple[np.ndarray, float]:
    """Step, and condition number of the scaled Hessian."""
    diagonal = np.abs(np.diag(hessian))
    if not diagonal.all():
        refuse_collinear(diagonal > 0, describe, terms, which, n_rows)
    scale = 1 / np.sqrt(diagonal)
    scaled = scale[:, None] * hessian * scale
    # A user's own Hessian may be neither symmetric nor positive; only near-singular is wrong.
    _, singular, Vt = np.linalg.svd(scaled)
    if singular[-1] < SINGULAR * singular[0]:
        refuse_collinear(np.abs(Vt[-1]) < 1e-3, describe, terms, which, n_rows)
    return scale * np.linalg.solve(scaled, scale * gradient), float(singular[0] / singular[-1])


def _separated(describe: str, which: str, n_rows: int) -> str:
    return (
        f"on the {n_rows} {which} rows the covariates of {describe!r} separate the outcomes perfectly, so no finite "
        "coefficients exist. Label more rows, drop or merge covariates that separate, estimate a share with Mean, or "
        "use method='firth' of Logistic and Poisson with labels alone, which is finite there."
    )


def _no_solution(describe: str, which: str, n_rows: int, why: str) -> str:
    return (
        f"{describe!r} has no solution on the {n_rows} {which} rows: {why}. Check the scale of the covariates, extreme "
        "outcomes, and (MEstimand) the sign of scores: minus the derivative of a loss."
    )
