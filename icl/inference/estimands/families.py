"""Exponential families with canonical link: cumulant, mean and curvature of the linear predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

EDGE = 20.0
"""A linear predictor that an ordinary fit does not reach: exp(-20) is 2e-9."""


class Family(ABC):
    """Shapes: `eta` and `mu` (R, K) for R rows and K responses."""

    is_linear: bool = False

    @abstractmethod
    def cumulant(self, eta: np.ndarray) -> np.ndarray:
        """(R,) b(eta), summed over responses; its gradient is the mean."""

    @abstractmethod
    def mean(self, eta: np.ndarray) -> np.ndarray:
        """(R, K) expected response."""

    @abstractmethod
    def curvature(self, mu: np.ndarray) -> np.ndarray:
        """Second derivative of the cumulant: (R, K) where responses do not interact, (R, K, K) where they do."""

    def skew(self, mu: np.ndarray) -> np.ndarray:
        """(R, K) third derivative of the cumulant over the second; of one response."""
        raise NotImplementedError

    def runs_away(self, eta: np.ndarray) -> bool:
        """Some mean is within exp(-20) of a value that only an infinite predictor reaches."""
        return False


class Identity(Family):
    """Squared error."""

    is_linear = True

    def cumulant(self, eta):
        return 0.5 * np.einsum("rk,rk->r", eta, eta)

    def mean(self, eta):
        return eta

    def curvature(self, mu):
        return np.ones_like(mu)


class Logit(Family):
    """One binary response, or a probability of it."""

    def cumulant(self, eta):
        return np.logaddexp(0, eta[:, 0])

    def mean(self, eta):
        from scipy.special import expit

        return expit(eta)

    def curvature(self, mu):
        return mu * (1 - mu)

    def skew(self, mu):
        return 1 - 2 * mu

    def runs_away(self, eta):
        return bool(np.abs(eta).max() > EDGE)


class Log(Family):
    """A count or another non-negative response."""

    def cumulant(self, eta):
        return self.mean(eta)[:, 0]

    def mean(self, eta):
        # A Newton step may overshoot; beyond this bound the objective is hopeless and the step is halved.
        return np.exp(np.minimum(eta, 300.0))

    def curvature(self, mu):
        return mu

    def skew(self, mu):
        return np.ones_like(mu)

    def runs_away(self, eta):
        return bool(eta.min() < -EDGE)


class Softmax(Family):
    """Indicators of K classes beside a base class, or probabilities of them."""

    def cumulant(self, eta):
        top = np.maximum(eta.max(axis=1), 0)
        return top + np.log(np.exp(-top) + np.exp(eta - top[:, None]).sum(axis=1))

    def mean(self, eta):
        top = np.maximum(eta.max(axis=1, keepdims=True), 0)
        raised = np.exp(eta - top)
        return raised / (np.exp(-top) + raised.sum(axis=1, keepdims=True))

    def curvature(self, mu):
        return np.einsum("rk,km->rkm", mu, np.eye(mu.shape[1])) - mu[:, :, None] * mu[:, None, :]

    def runs_away(self, eta):
        return bool(np.abs(eta).max() > EDGE)
