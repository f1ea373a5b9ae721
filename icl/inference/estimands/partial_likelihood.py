"""Cox's partial likelihood: its maximum, how rows move it, and what may be wrong with it. Ties as Breslow has them.

Shapes: n rows, latest times first; P covariates, centred and in units of their standard deviation inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_STEPS = 50
LEAST_INFORMATION = 1e-6
"""Of the information without effects, in the direction that lost most of it. A coefficient that runs off to infinity
loses a factor of e or more in each step; a hazard ratio of a million would be needed to come here otherwise."""
Z95 = 1.96


@dataclass(frozen=True, eq=False)
class At:
    """What the partial likelihood is made of at one value of the coefficients; sums go over rows with events."""

    risk: np.ndarray
    """(n,) weight times hazard ratio."""
    S0: np.ndarray
    """(n,) summed over those at risk when the row leaves."""
    mean: np.ndarray
    """(n, P) of the covariates of those at risk."""
    spread: np.ndarray
    """(n, P, P) their covariance."""
    gradient: np.ndarray
    information: np.ndarray


@dataclass(frozen=True, eq=False)
class PartialLikelihood:
    """Of times (n,), whether the event ended them (n,) bool, covariates (n, P), weights (n,); `what` is for messages.

    Raises:
        ValueError: where the covariates repeat one another.
    """

    time: np.ndarray
    seen: np.ndarray
    X: np.ndarray
    w: np.ndarray
    what: str

    def __post_init__(self) -> None:
        Z = self.X - self.X.mean(axis=0)
        if not (self.unit > 0).all() or np.linalg.matrix_rank(Z / np.where(self.unit > 0, self.unit, 1)) < Z.shape[1]:
            raise ValueError(f"some covariates of {self.what!r} are constant or repeat others; leave them out.")

    @cached_property
    def unit(self) -> np.ndarray:
        """(P,) standard deviations."""
        return self.X.std(axis=0)

    @cached_property
    def order(self) -> np.ndarray:
        return np.argsort(-self.time, kind="stable")

    @cached_property
    def Z(self) -> np.ndarray:
        return ((self.X - self.X.mean(axis=0)) / self.unit)[self.order]

    @cached_property
    def jump(self) -> np.ndarray:
        """(n,) weight of a row with an event, else zero."""
        return (self.w * self.seen)[self.order]

    def at(self, b: np.ndarray) -> At:
        """At coefficients b (P,) of standardised covariates."""
        t, Z = -self.time[self.order], self.Z
        last = np.searchsorted(t, t, side="right") - 1  # the last row of those at risk when this one leaves
        eta = Z @ b
        risk = self.w[self.order] * np.exp(eta - eta.max())
        S0 = np.cumsum(risk)[last]
        mean = np.cumsum(risk[:, None] * Z, axis=0)[last] / S0[:, None]
        square = np.cumsum(risk[:, None, None] * Z[:, :, None] * Z[:, None, :], axis=0)[last] / S0[:, None, None]
        spread = square - mean[:, :, None] * mean[:, None, :]
        information = np.einsum("n,npq->pq", self.jump, spread)
        return At(risk, S0, mean, spread, self.jump @ (Z - mean), information)

    @cached_property
    def maximum(self) -> np.ndarray:
        """(P,) standardised coefficients.

        Raises:
            ValueError: where no finite maximum exists: the likelihood rises for ever (monotone likelihood).
        """
        b = np.zeros(self.Z.shape[1])
        found = self.at(b)
        root = np.linalg.cholesky(np.linalg.pinv(found.information) + 1e-12 * np.eye(len(b)))
        for _ in range(MAX_STEPS):
            least = np.linalg.eigvalsh(root.T @ found.information @ root)[0]
            if not least > LEAST_INFORMATION or np.abs(b).max() > 20:
                raise ValueError(
                    f"a covariate of {self.what!r} separates events from survivors, so that its coefficient is "
                    "infinite: within what was seen, one of its sides has all events, or they come in its order. Leave "
                    "it out, merge its levels, or label more rows."
                )
            step = np.linalg.solve(found.information, found.gradient)
            b = b + step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
            found = self.at(b)
            if np.abs(step).max() < 1e-10:
                return b
        raise ValueError(f"the partial likelihood of {self.what!r} did not settle; scale the covariates, or drop some.")

    @cached_property
    def best(self) -> At:
        return self.at(self.maximum)

    @property
    def coefficients(self) -> np.ndarray:
        """(P,) per unit of each covariate."""
        return self.maximum / self.unit

    @property
    def moves(self) -> np.ndarray:
        """(n, P) how a row of weight one moves the coefficients: what it did, less what was expected of it while it was
        at risk, which sums up the events until its time."""
        t, Z, now = -self.time[self.order], self.Z, self.best
        ratio = now.risk / self.w[self.order]
        hazard = self.jump / now.S0
        up = lambda values: np.cumsum(values[::-1], axis=0)[::-1]
        starts = np.searchsorted(t, t, side="left")
        H, HZ = up(hazard)[starts], up(hazard[:, None] * now.mean)[starts]
        U = self.seen[self.order][:, None] * (Z - now.mean) - ratio[:, None] * (Z * H[:, None] - HZ)
        out = np.empty_like(U)
        out[self.order] = U @ np.linalg.inv(now.information) / self.unit
        return out

    @property
    def lopsided(self) -> np.ndarray:
        """(P,) by what factor the information on a coefficient differs between the ends of its 95% interval."""
        t = -self.time[self.order]
        last = np.searchsorted(t, t, side="right") - 1
        at_best = self.Z @ self.maximum

        def information(j: int, step: float) -> float:
            """On coefficient j alone, a step away from the maximum: n numbers, where all would be n P^2."""
            eta, z = at_best + step * self.Z[:, j], self.Z[:, j]
            risk = self.w[self.order] * np.exp(eta - eta.max())
            S0, S1, S2 = (np.cumsum(risk * power)[last] for power in (1.0, z, z**2))
            return float(self.jump @ (S2 / S0 - (S1 / S0) ** 2))

        reach = Z95 * np.sqrt(np.diag(np.linalg.inv(self.best.information)))
        ends = [[information(j, side * reach[j]) for side in (-1, 1)] for j in range(len(reach))]
        return np.array([max(pair) / max(min(pair), 1e-300) for pair in ends])

    @property
    def trend(self) -> tuple[float, np.ndarray]:
        """Test of coefficients that change with time: chi-squared of P degrees of freedom, and (P,) of one each.

        The score test of covariate times rank of the event time, as `cox.zph` of R's survival does it from 3.0 on: the
        slope of Schoenfeld's residuals on time, its variance given that the coefficients were fitted. Source: Grambsch
        & Therneau (1994), doi:10.1093/biomet/81.3.515.
        """
        now, jump = self.best, self.jump
        events = np.unique(self.time[self.seen])
        g = np.searchsorted(events, self.time[self.order]).astype(float)
        g -= jump @ g / jump.sum()
        U = (jump * g) @ (self.Z - now.mean)
        by = lambda weight: np.einsum("n,npq->pq", jump * weight, now.spread)
        V = by(g**2) - by(g) @ np.linalg.solve(now.information, by(g))
        if not (np.diag(V) > 1e-12).all():  # events at one or two times show no change
            return 0.0, np.zeros(len(U))
        return float(U @ np.linalg.pinv(V, hermitian=True) @ U), U**2 / np.diag(V)
