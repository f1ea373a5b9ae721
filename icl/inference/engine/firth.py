"""Penalised likelihood: logistic and Poisson slopes that few events leave without a finite or a trustworthy answer.

l*(theta) = l(theta) + log |I(theta)| / 2, with the Fisher information I: Firth's penalty, Jeffreys' prior. It takes the
bias of order 1/n out of the estimate, which is finite for every sample, separated ones too. Intervals come from the
profile of l*: theta_j is inside as long as twice the loss of l*, maximised over all other coefficients, is below the
quantile of chi-squared with one degree of freedom. They are as skewed as the likelihood is; estimate -+ z std_error
covers too little, and is only printed as a standard error. Nominal .95, 2 to 5 events expected, 230 to 380 samples:
.945 to .966, where sandwich and t cover .74 to .88 (benchmarks/rare_events.md). They trust the model, as a likelihood
does: a Poisson outcome must vary as much as its mean. Neither changes with the units or the origin of the covariates.

**With predictions** this has no counterpart here. The rectified estimate beta + W (eta_elsewhere - eta_labeled) has no
likelihood, so nothing to take a profile of; and what W and its error are worth would have to be read off the very few
events that make Wald intervals fail: below five events even a gain for a share cannot be told from luck
(`icl.inference.engine.shares`). So labels alone are used, and other weights are refused.

Sources: Firth (1993), doi:10.1093/biomet/80.1.27; Heinze & Schemper (2002), doi:10.1002/sim.1047, for the profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from icl.inference.checks import check_alternative, check_level
from icl.inference.engine.answer import Rectified
from icl.inference.engine.fit import COLLINEAR, Fit, refuse_collinear
from icl.inference.engine.problem import Problem
from icl.inference.engine.rows import Rows
from icl.inference.estimands.equations import CanonicalGLM
from icl.inference.estimands.families import Family

MAX_STEPS, HALVINGS = 200, 30
LONGEST = 4.0
"""Change of a linear predictor in one step: where all means are near 0 the information knows nothing farther off."""
SETTLED = 1e-11
"""Squared length of a step, in standard errors."""
FARTHEST = 60
"""Doublings of the distance from the estimate within which a bound must lie; l* falls without end, so it does."""


@dataclass(frozen=True, eq=False)
class PenalisedLikelihood:
    """l* of one response (n,) given an orthonormal design Q (n, p), so that no column counts for its units."""

    family: Family
    Q: np.ndarray
    y: np.ndarray

    def value(self, gamma: np.ndarray) -> float:
        """l* at coefficients (p,) of Q; -inf where the information vanishes."""
        eta = (self.Q @ gamma)[:, None]
        weight = self.family.curvature(self.family.mean(eta))[:, 0]
        sign, log_det = np.linalg.slogdet(self.Q.T @ (self.Q * weight[:, None]))
        if sign <= 0:
            return -np.inf
        return float(self.y @ eta[:, 0] - self.family.cumulant(eta).sum() + log_det / 2)

    def score_and_information(self, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (p,) of l*, and the Fisher information (p, p), in place of its Hessian."""
        mu = self.family.mean((self.Q @ gamma)[:, None])
        weight = self.family.curvature(mu)[:, 0]
        information = self.Q.T @ (self.Q * weight[:, None])
        leverage = weight * np.einsum("np,np->n", self.Q @ np.linalg.pinv(information, hermitian=True), self.Q)
        residual = self.y - mu[:, 0] + leverage * self.family.skew(mu)[:, 0] / 2
        return self.Q.T @ residual, information

    def maximise(self, gamma: np.ndarray, free: np.ndarray) -> np.ndarray:
        """(p,) where l* is greatest over the `free` (p, q) directions from `gamma` on."""
        best = self.value(gamma)
        for _ in range(MAX_STEPS if free.shape[1] else 0):
            score, information = self.score_and_information(gamma)
            score, information = free.T @ score, free.T @ information @ free
            step = np.linalg.lstsq(information, score, rcond=None)[0]
            length = float(score @ step)
            step = free @ step
            step = step * min(1, LONGEST / max(float(np.abs(self.Q @ step).max()), LONGEST))
            for _ in range(HALVINGS):
                after = gamma + step
                value = self.value(after)
                if value >= best - 1e-12 * abs(best):
                    break
                step = step / 2
            else:
                return gamma
            gamma, best = after, max(value, best)
            if length < SETTLED:
                return gamma
        return gamma


@dataclass(frozen=True)
class Profiled(Rectified):
    """An answer whose intervals and p-values come from the profile of a penalised likelihood."""

    likelihood: PenalisedLikelihood = field(kw_only=True)
    to_terms: np.ndarray = field(kw_only=True)
    """(p, p) from coefficients of the orthonormal design to those of the terms."""

    def interval(self, level: float, alternative: str = "two-sided") -> tuple[np.ndarray, np.ndarray]:
        from scipy.special import ndtri

        check_level(level)
        check_alternative(alternative)
        reach = -float(ndtri((1 - level) / 2 if alternative == "two-sided" else 1 - level))
        endless, terms = np.full(len(self.estimate), np.inf), range(len(self.estimate))
        lower = -endless if alternative == "smaller" else np.array([self._bound(j, -reach) for j in terms])
        upper = endless if alternative == "larger" else np.array([self._bound(j, reach) for j in terms])
        return lower, upper

    def p_value(self, null: np.ndarray, alternative: str = "two-sided") -> np.ndarray:
        from scipy.special import ndtr

        check_alternative(alternative)
        values = np.broadcast_to(null, self.estimate.shape)
        root = np.array([self._signed_root(j, value)[0] for j, value in enumerate(values)])
        if alternative == "two-sided":
            return 2 * ndtr(-np.abs(root))
        return ndtr(root) if alternative == "larger" else ndtr(-root)

    @cached_property
    def _at_best(self) -> tuple[np.ndarray, float]:
        gamma = np.linalg.solve(self.to_terms, self.estimate)
        return gamma, self.likelihood.value(gamma)

    def _signed_root(self, j: int, value: float, start: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Root of twice the loss of l* where term j has `value`, negative below the estimate; where it is reached."""
        gamma, best = self._at_best
        row = self.to_terms[j]  # theta_j = row @ gamma
        gamma = gamma if start is None else start
        gamma = gamma + row * (value - row @ gamma) / (row @ row)
        free = np.linalg.svd(row[None])[2][1:].T  # directions in which theta_j does not change
        gamma = self.likelihood.maximise(gamma, free)
        loss = max(best - self.likelihood.value(gamma), 0.0)
        return float(np.copysign(np.sqrt(2 * loss), value - self.estimate[j])), gamma

    def _bound(self, j: int, target: float) -> float:
        """Value of term j whose signed root is `target`; diagnostics and reports ask for the same ones."""
        if (j, target) not in self._bounds:
            self._bounds[j, target] = self._find_bound(j, target)
        return self._bounds[j, target]

    @cached_property
    def _bounds(self) -> dict[tuple[int, float], float]:
        return {}

    def _find_bound(self, j: int, target: float) -> float:
        from scipy.optimize import brentq

        near, step = self.estimate[j], np.copysign(self.std_error[j], target) * abs(target)
        far, gamma = near + step, None
        for _ in range(FARTHEST):
            root, gamma = self._signed_root(j, far, gamma)
            if abs(root) >= abs(target):
                break
            near, far = far, far + step
            step *= 2
        else:
            raise ValueError(
                f"the profile of term {j} does not fall to its interval; check the scale of the covariates."
            )
        low, high = sorted((float(near), float(far)))
        off = lambda value: self._signed_root(j, value, gamma)[0] - target
        return float(brentq(off, low, high, xtol=1e-8 * float(self.std_error[j])))


def penalised_likelihood(problem: Problem, rows: Rows) -> tuple[PenalisedLikelihood, np.ndarray]:
    """l* of the rows, and the matrix (p, p) that takes coefficients of its design to those of the terms."""
    X, model = rows.X, problem.model
    assert isinstance(model, CanonicalGLM)
    length = np.sqrt(np.einsum("np,np->p", X, X))
    if len(X) < X.shape[1] or not length.all():
        refuse_collinear(length > 0, str(problem.estimand), problem.columns, "labeled", len(X))
    Q, R = np.linalg.qr(X / length)
    _, singular, Vt = np.linalg.svd(R)
    if singular[-1] < COLLINEAR * singular[0]:
        refuse_collinear(np.abs(Vt[-1]) < 1e-3, str(problem.estimand), problem.columns, "labeled", len(X))
    scale = np.sqrt(len(X))  # a coefficient of Q is then of the size of the linear predictor
    return PenalisedLikelihood(model.family, Q * scale, rows.Y[:, 0]), np.linalg.inv(R) * scale / length[:, None]


def fit_penalised(problem: Problem, rows: Rows) -> Fit:
    """The estimate that maximises l*, with the Fisher information in place of the Hessian."""
    likelihood, to_terms = penalised_likelihood(problem, rows)
    p = len(to_terms)
    gamma = likelihood.maximise(np.zeros(p), np.eye(p))
    estimate = to_terms @ gamma
    return Fit(problem.model, estimate, problem.model.sums(rows.X, rows.Y, None, estimate)[1], rows.total_weight)


def solve_penalised(problem: Problem, fit: Fit, weight: str | float) -> Profiled:
    """The answer from labels alone.

    Raises:
        ValueError: for any weight but 0, and for rows that do not count alike or depend on one another.
    """
    if weight != 0:
        raise ValueError(
            f"method='firth' uses labels alone: a rectified estimate has no likelihood, so weight={weight!r} has no "
            "profile. Pass weight=0, or no predictions; or drop method='firth' where events are many."
        )
    if not problem.sampling.is_plain:
        raise ValueError(
            "method='firth' is a likelihood of independent rows that count alike, and this design has weights, "
            "clusters or strata. Use method='ml' with the design."
        )
    likelihood, to_terms = penalised_likelihood(problem, problem.rows_y)
    return Profiled("classical", fit.estimate, fit.bread, np.inf, 0.0, likelihood=likelihood, to_terms=to_terms)
