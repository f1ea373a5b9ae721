"""Estimating equations: what each row adds to the score and to the Hessian. They know arrays, not tables.

Shapes: R rows, p columns of the design, K responses in a row, P = pK parameters, ordered response by response.
Signs: the score of a row is minus the derivative of its loss, so that the Hessian, minus the derivative of the summed
scores, is positive, and a row moves the estimate by `bread @ score`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl.inference.checks import OptionalArray
from icl.inference.estimands.families import Family


class EstimatingEquation(ABC):
    """The contract between an estimand and the engine."""

    is_linear: bool = False
    """The estimate is a linear function of the outcome, with levers that depend on the design alone."""

    @abstractmethod
    def n_parameters(self, X: np.ndarray) -> int:
        """P for a design with these columns."""

    @abstractmethod
    def sums(
        self, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, theta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores (P,) and minus their derivative (P, P), summed over rows."""

    def objective(self, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, theta: np.ndarray) -> float:
        """What the scores are the gradient of, summed over rows, to maximise; NaN where there is no such thing."""
        return float("nan")

    @abstractmethod
    def scores(self, X: np.ndarray, Y: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """(R, P) score of each row, without its weight."""

    @abstractmethod
    def row_hessians(self, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, theta: np.ndarray) -> np.ndarray | None:
        """(R, P, P) what each row adds to the Hessian; None where that is unknown."""

    def working_scores(self, X: np.ndarray, w: np.ndarray | None, theta: np.ndarray) -> np.ndarray | None:
        """(R, P) score of each row, weight included, if its error has the standard deviation that the family gives it;
        None where one row has several errors or the model has none."""
        return None

    def leverage(self, X: np.ndarray, w: np.ndarray | None, theta: np.ndarray, bread: np.ndarray) -> np.ndarray | None:
        """(R,) share of its own fitted value that a row decides; None where the model has no fitted values."""
        return None

    def residual(self, X: np.ndarray, Y: np.ndarray, theta: np.ndarray) -> np.ndarray | None:
        """(R, K) response minus fitted value; None where the model has none."""
        return None

    def n_fitted(self, n_parameters: int) -> int:
        """Parameters that the residuals of one response were fitted with."""
        return n_parameters

    def start(self, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray | None:
        """(P,) where Newton's method begins; None for zeros."""
        return None

    def runs_away(self, X: np.ndarray, theta: np.ndarray) -> bool:
        """Some fitted value is at the edge of what is possible, a sign that the solution is at infinity."""
        return False


@dataclass(frozen=True)
class CanonicalGLM(EstimatingEquation):
    """Generalised linear model with its canonical link; the model need not be true, the scores define the estimand."""

    family: Family
    n_responses: int = 1

    @property
    def is_linear(self) -> bool:  # type: ignore[override]  # a flag of the class there, of the family here
        return self.family.is_linear

    def n_parameters(self, X: np.ndarray) -> int:
        return X.shape[1] * self.n_responses

    def n_fitted(self, n_parameters):
        return n_parameters // self.n_responses

    def predictor(self, X: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """(R, K) linear predictor."""
        if repeats_one_row(X):
            return np.broadcast_to(theta.reshape(self.n_responses, -1) @ X[0], (len(X), self.n_responses))
        if X.shape[1] == 1:  # a matrix product with one column is slower than it looks
            return X * theta
        return X @ theta.reshape(self.n_responses, -1).T

    def sums(self, X, Y, w, theta):
        mu = None if self.is_linear and not theta.any() else self.family.mean(self.predictor(X, theta))
        residual = Y if mu is None else Y - mu
        if w is not None:
            residual = w[:, None] * residual
        if self.is_linear and repeats_one_row(X):  # a mean: sums of the outcome, which NumPy adds up pairwise
            gram = np.outer(X[0], X[0]) * (len(X) if w is None else w.sum())
            gradient = np.outer(residual.sum(axis=0), X[0]).ravel()
            return gradient, gram if self.n_responses == 1 else np.kron(np.eye(self.n_responses), gram)
        return (X.T @ residual).T.ravel(), self._hessian(X, w, mu)

    def objective(self, X, Y, w, theta):
        eta = self.predictor(X, theta)
        rows = np.einsum("rk,rk->r", Y, eta) - self.family.cumulant(eta)
        return float(rows.sum() if w is None else w @ rows)

    def _hessian(self, X: np.ndarray, w: np.ndarray | None, mu: OptionalArray) -> np.ndarray:
        K, p = self.n_responses, X.shape[1]
        if self.family.is_linear:
            weighted: np.ndarray = X if w is None else X * w[:, None]
            gram = X.T @ weighted
            return gram if K == 1 else np.kron(np.eye(K), gram)
        curvature = self.family.curvature(mu)  # (R, K, K), or (R, 1) for a single response
        if K == 1:
            d = curvature[:, 0] if w is None else w * curvature[:, 0]
            return X.T @ (X * d[:, None])
        hessian = np.empty((K, p, K, p))
        for k in range(K):
            for m in range(k + 1):
                d = curvature[:, k, m] if w is None else w * curvature[:, k, m]
                hessian[k, :, m, :] = X.T @ (X * d[:, None])
                hessian[m, :, k, :] = hessian[k, :, m, :].T
        return hessian.reshape(K * p, K * p)

    def residual(self, X, Y, theta):
        return Y - self.family.mean(self.predictor(X, theta))

    def scores(self, X, Y, theta):
        residual = self.residual(X, Y, theta)
        if self.n_responses == 1:
            return residual if is_plain_mean(self, X) else X * residual
        return np.einsum("rk,rp->rkp", residual, X).reshape(len(X), -1)

    def runs_away(self, X, theta):
        return self.family.runs_away(self.predictor(X, theta))

    def row_hessians(self, X, Y, w, theta):
        d = self.family.curvature(self.family.mean(self.predictor(X, theta)))
        if w is not None:
            d = d * w.reshape(-1, *[1] * (d.ndim - 1))
        if self.n_responses == 1:
            return np.einsum("r,rp,rq->rpq", d[:, 0], X, X)
        if d.ndim == 2:
            d = np.einsum("rk,km->rkm", d, np.eye(self.n_responses))
        P = self.n_parameters(X)
        return np.einsum("rkm,rp,rq->rkpmq", d, X, X).reshape(len(X), P, P)

    def working_scores(self, X, w, theta):
        if self.n_responses > 1:
            return None
        scores = X * np.sqrt(self.family.curvature(self.family.mean(self.predictor(X, theta))))
        return scores if w is None else w[:, None] * scores

    def leverage(self, X, w, theta, bread):
        """Of K responses together: the trace of the K by K hat block of the row, divided by K."""
        K, p = self.n_responses, X.shape[1]
        if self.family.is_linear:  # all responses share one Gram matrix
            if repeats_one_row(X):
                h = np.broadcast_to(X[0] @ bread[:p, :p] @ X[0], len(X))
            else:
                h = np.einsum("rp,rp->r", X @ bread[:p, :p], X)
        elif K == 1:
            h = np.einsum("rp,rp->r", X @ bread, X)
            h = h * self.family.curvature(self.family.mean(self.predictor(X, theta)))[:, 0]
        else:
            d = self.family.curvature(self.family.mean(self.predictor(X, theta)))
            blocks = bread.reshape(K, p, K, p)
            h = np.zeros(len(X))
            for k in range(K):
                for m in range(K):
                    h += d[:, k, m] * np.einsum("rp,rp->r", X @ blocks[m, :, k, :], X)
            h /= K
        return h if w is None else h * w


@dataclass(frozen=True)
class CustomModel(EstimatingEquation):
    """Scores that the user wrote; see `MEstimand`."""

    user_scores: Any
    user_hessian: Any
    dimension: int
    user_solve: Any = None

    def start(self, X, Y, w):
        if self.user_solve is None:
            return None
        theta = np.asarray(self.user_solve(X, _flat(Y), np.ones(len(X)) if w is None else w), dtype=float)
        if theta.shape != (self.dimension,):
            raise ValueError(f"solve(X, y, w) gave shape {theta.shape}; expected {(self.dimension,)}.")
        return theta

    def n_parameters(self, X: np.ndarray) -> int:
        return self.dimension

    def scores(self, X, Y, theta):
        values = np.asarray(self.user_scores(theta, X, _flat(Y)), dtype=float)
        if values.shape != (len(X), self.dimension):
            raise ValueError(
                f"scores(theta, X, y) gave shape {values.shape} for {len(X)} rows; expected "
                f"{(len(X), self.dimension)}: one row for each row, one column for each parameter."
            )
        return values

    def sums(self, X, Y, w, theta):
        gradient = self._total(X, Y, w, theta)
        if self.user_hessian is None:
            step = 6e-6 * np.maximum(1, np.abs(theta))  # cube root of the rounding error: best for central differences
            hessian = np.empty((self.dimension, self.dimension))
            for j in range(self.dimension):
                up, down = theta.copy(), theta.copy()
                up[j], down[j] = theta[j] + step[j], theta[j] - step[j]
                hessian[:, j] = (self._total(X, Y, w, down) - self._total(X, Y, w, up)) / (2 * step[j])
        else:
            rows = np.ones(len(X)) if w is None else w
            hessian = np.asarray(self.user_hessian(theta, X, _flat(Y), rows), dtype=float)
            if hessian.shape != (self.dimension, self.dimension):
                raise ValueError(
                    f"hessian(theta, X, y, w) gave shape {hessian.shape}; expected {(self.dimension,) * 2}: minus the "
                    "derivative of the weighted sum of scores."
                )
        return gradient, hessian

    def row_hessians(self, X, Y, w, theta):
        return None

    def _total(self, X, Y, w, theta):
        rows = self.scores(X, Y, theta)
        return rows.sum(axis=0) if w is None else w @ rows


def _flat(Y: np.ndarray) -> np.ndarray:
    return Y[:, 0] if Y.shape[1] == 1 else Y


def is_plain_mean(model: EstimatingEquation, X: np.ndarray) -> bool:
    """The mean of one response: the design is one column of ones, and the scores are the residuals."""
    if not isinstance(model, CanonicalGLM) or not model.is_linear or model.n_responses > 1:
        return False
    return X.shape[1] == 1 and repeats_one_row(X) and bool(X[0, 0] == 1)


def repeats_one_row(X: np.ndarray) -> bool:
    """All rows of X are one row in memory (`np.broadcast_to`), as the design of a mean is."""
    return len(X) > 1 and X.strides[0] == 0
