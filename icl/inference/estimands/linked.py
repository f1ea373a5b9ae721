"""Generalised linear models with other links than the canonical one: probit, complementary log-log, gamma, counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from icl.inference.estimands.base import Example
from icl.inference.estimands.equations import EstimatingEquation
from icl.inference.estimands.families import EDGE
from icl.inference.estimands.formula import Regression
from icl.inference.estimands.glm import Logistic, Poisson


class Link(ABC):
    """A concave quasi-likelihood with scores x g(eta) (y - mu(eta)): linear in y, as rectification needs them."""

    @abstractmethod
    def objective(self, y: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """(R,) what is maximised."""

    @abstractmethod
    def mean(self, eta: np.ndarray) -> np.ndarray:
        """(R,) expected response."""

    @abstractmethod
    def lever(self, eta: np.ndarray) -> np.ndarray:
        """(R,) g: derivative of the mean over the variance."""

    @abstractmethod
    def curvature(self, y: np.ndarray, eta: np.ndarray) -> np.ndarray:
        """(R,) minus the derivative of g (y - mu)."""

    def runs_away(self, eta: np.ndarray) -> bool:
        return bool(np.abs(eta).max() > EDGE)


class ProbitLink(Link):
    """mu = Phi(eta)."""

    def objective(self, y, eta):
        from scipy.special import log_ndtr

        return y * log_ndtr(eta) + (1 - y) * log_ndtr(-eta)

    def mean(self, eta):
        from scipy.special import ndtr

        return ndtr(eta)

    def _hazards(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """phi / Phi(eta) and phi / Phi(-eta)."""
        from scipy.special import log_ndtr

        log_phi = -0.5 * eta**2 - 0.5 * np.log(2 * np.pi)
        return np.exp(log_phi - log_ndtr(eta)), np.exp(log_phi - log_ndtr(-eta))

    def lever(self, eta):
        a, b = self._hazards(eta)
        return a + b  # phi / (Phi (1 - Phi))

    def curvature(self, y, eta):
        a, b = self._hazards(eta)
        return y * a * (a + eta) + (1 - y) * b * (b - eta)

    def runs_away(self, eta):
        return bool(np.abs(eta).max() > 7)  # as far out as 20 is for a logit


class CloglogLink(Link):
    """mu = 1 - exp(-exp(eta)): a hazard ratio where times are known by intervals only."""

    def objective(self, y, eta):
        rate = np.exp(np.minimum(eta, 300))
        return y * np.log(-np.expm1(-np.maximum(rate, 1e-300))) - (1 - y) * rate

    def mean(self, eta):
        return -np.expm1(-np.exp(np.minimum(eta, 300)))

    def lever(self, eta):
        rate = np.exp(np.minimum(eta, 300))
        return rate / np.maximum(-np.expm1(-rate), 1e-300)

    def curvature(self, y, eta):
        rate = np.exp(np.minimum(eta, 300))
        seen = np.maximum(-np.expm1(-rate), 1e-300)
        ratio = rate * np.exp(-rate) / seen  # d log mu / d eta
        return y * ratio * (rate - 1 + ratio) + (1 - y) * rate

    def runs_away(self, eta):
        return bool(eta.min() < -EDGE or eta.max() > 4)


class GammaLog(Link):
    """log mu = eta, the variance in proportion to the square of the mean."""

    def objective(self, y, eta):
        return -y * np.exp(np.minimum(-eta, 300)) - eta

    def mean(self, eta):
        return np.exp(np.minimum(eta, 300))

    def lever(self, eta):
        return np.exp(np.minimum(-eta, 300))

    def curvature(self, y, eta):
        return y * np.exp(np.minimum(-eta, 300))


@dataclass(frozen=True)
class NegativeBinomialLog(Link):
    """log mu = eta, variance mu + alpha mu^2."""

    alpha: float = 1.0

    def objective(self, y, eta):
        mu = self.mean(eta)
        return y * eta - (y + 1 / self.alpha) * np.log1p(self.alpha * mu)

    def mean(self, eta):
        return np.exp(np.minimum(eta, 300))

    def lever(self, eta):
        return 1 / (1 + self.alpha * self.mean(eta))

    def curvature(self, y, eta):
        mu = self.mean(eta)
        return mu * (1 + self.alpha * y) / (1 + self.alpha * mu) ** 2

    def runs_away(self, eta):
        return bool(eta.min() < -EDGE)


@dataclass(frozen=True)
class LinkedGLM(EstimatingEquation):
    """Scores of a quasi-likelihood; its Hessian is the observed one, which is right whatever the model."""

    link: Link

    def n_parameters(self, X: np.ndarray) -> int:
        return X.shape[1]

    def sums(self, X, Y, w, theta):
        eta = X @ theta
        curvature = self.link.curvature(Y[:, 0], eta)
        score = self.link.lever(eta) * (Y[:, 0] - self.link.mean(eta))
        if w is not None:
            curvature, score = w * curvature, w * score
        return X.T @ score, X.T @ (X * curvature[:, None])

    def objective(self, X, Y, w, theta):
        rows = self.link.objective(Y[:, 0], X @ theta)
        return float(rows.sum() if w is None else w @ rows)

    def residual(self, X, Y, theta):
        """Of the score: g (y - mu), so that x times it is the score, as in a canonical model."""
        eta = X @ theta
        return (self.link.lever(eta) * (Y[:, 0] - self.link.mean(eta)))[:, None]

    def scores(self, X, Y, theta):
        return X * self.residual(X, Y, theta)

    def row_hessians(self, X, Y, w, theta):
        d = self.link.curvature(Y[:, 0], X @ theta)
        return np.einsum("r,rp,rq->rpq", d if w is None else w * d, X, X)

    def working_scores(self, X, w, theta):
        eta = X @ theta
        scores = X * np.sqrt(self._information(eta))[:, None]
        return scores if w is None else w[:, None] * scores

    def leverage(self, X, w, theta, bread):
        h = np.einsum("rp,rp->r", X @ bread, X) * self._information(X @ theta)
        return np.clip(h if w is None else h * w, 0, 1)

    def _information(self, eta: np.ndarray) -> np.ndarray:
        """(R,) expected curvature: that at an outcome equal to its mean."""
        return self.link.curvature(self.link.mean(eta), eta)

    def runs_away(self, X, theta):
        return self.link.runs_away(X @ theta)


@dataclass(frozen=True)
class Probit(Logistic):
    """Coefficients of a probit regression of a binary outcome; predictions are probabilities. See `Logistic`."""

    _of = "normal quantile of the share"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("event ~ x"), "p", has_units=False),)

    @property
    def model(self) -> LinkedGLM:  # type: ignore[override]  # another equation for the same columns
        return LinkedGLM(ProbitLink())


@dataclass(frozen=True)
class Cloglog(Logistic):
    """Log hazard ratios of a binary outcome with the complementary log-log link; predictions are probabilities."""

    _of = "log hazard"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("event ~ x"), "p", has_units=False),)

    @property
    def model(self) -> LinkedGLM:  # type: ignore[override]
        return LinkedGLM(CloglogLink())


@dataclass(frozen=True)
class NegativeBinomial(Poisson):
    """Log rate ratios of counts whose variance grows as mean + alpha mean^2; right in the mean for any alpha.

    Args:
        formula, covariates: as in `OLS`.
        alpha: dispersion, which decides how much large counts weigh; as in statsmodels' family it is not estimated.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}; for alpha = 0 use Poisson.")

    @property
    def model(self) -> LinkedGLM:  # type: ignore[override]
        return LinkedGLM(NegativeBinomialLog(self.alpha))


@dataclass(frozen=True)
class Gamma(Regression):
    """Log ratios of means of a positive outcome whose deviation is in proportion to its mean; see `Regression`."""

    scale = "logarithm of the mean"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example(cls("amount ~ x"), "mu", has_units=False),)

    @property
    def model(self) -> LinkedGLM:
        return LinkedGLM(GammaLog())

    def outcome(self, labeled):
        y = super().outcome(labeled)
        if (y < 0).any() or not y.any():
            raise ValueError(f"{int((y < 0).sum())} outcomes of {str(self)!r} are negative; Gamma needs amounts.")
        return y

    def check_predictions(self, f: np.ndarray, which: str) -> None:
        n_negative = int((f < 0).sum())
        if n_negative or not f.any():
            raise ValueError(
                f"{n_negative} of {len(f)} predictions of {which} rows are negative, or all are zero; Gamma needs "
                "expected amounts. Predict on the scale of the outcome, or clip at a small positive number yourself."
            )
