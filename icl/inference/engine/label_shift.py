"""The shares of K classes in another population, of which only predictions are known; see `inputs.transport`.

With m_k the mean of predictions f among labeled rows of class k, and m their mean among unlabeled rows,

    sum over k of theta_k m_k = m,   sum over k of theta_k = 1

where f are K - 1 of the K class probabilities, or indicators of the predicted classes: the m_k are then the columns of
the confusion matrix. Delta method: the K + 1 means are independent, so that row i of class k moves theta by
-theta_k A^-1 (f_i - m_k) / n_k, an unlabeled row by A^-1 (f - m) / N, with A the matrix of the equations: what is not
known of the confusion matrix counts as what is not known of the other population does. With clusters their sums over
clusters are independent, and rows of labeled and unlabeled clusters with one id count together.

Of degrees of freedom, Welch and Satterthwaite's, since a class of few rows may make up most of the variance.

Measured, nominal .90, 1,000 samples each, worst and best class, from probabilities and from hard labels: two classes
with 200 labels .91 and .91, three with 150 .90 to .93, five with 300 .91 to .93. With the confusion matrix taken as
known, as the weights of Lipton et al. take it, .31 to .46.

Sources: Lipton, Wang & Smola (2018), arXiv:1802.03916 (their weights w_k are theta_k over the share among the labels);
for two classes Rogan & Gladen (1978), doi:10.1093/oxfordjournals.aje.a112510; degrees of freedom: Welch (1947),
doi:10.1093/biomet/34.1-2.28.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icl.inference.engine.answer import Rectified
from icl.inference.engine.clusters import group_sums
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.problem import Problem, as_columns

LABEL_SHIFT = "label shift"
LEAST_CONTRAST = 4.0
"""Difference of mean predictions between classes, in standard errors, below which they tell nothing."""


UNSEEN = 1.0
"""Rows of each class that are taken, for the variance alone, to be predicted like those of other classes: that six rows
of six were predicted rightly does not mean that all ever are. As Agresti & Coull (1998), doi:10.2307/2685469, add rows
to a share; they add two of each kind."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """What predictions make of each class, and so of another population."""

    problem: Problem

    @cached_property
    def Y(self) -> np.ndarray:
        """(n, K) indicators of the class of each labeled row."""
        y = self.problem.y
        return y if y.ndim > 1 else np.column_stack([1 - y, y])

    @cached_property
    def f(self) -> np.ndarray:
        """(n, K - 1) predictions of labeled rows; that of the first class is what the others leave over."""
        return as_columns(self.problem.f_labeled)[:, -(self.Y.shape[1] - 1) :]

    @cached_property
    def g(self) -> np.ndarray:
        """(N, K - 1) of unlabeled rows."""
        return as_columns(self.problem.f_unlabeled)[:, -(self.Y.shape[1] - 1) :]

    @cached_property
    def shares(self) -> np.ndarray:
        """(n, K) share of each labeled row in the mean over its class."""
        w = self.problem.sampling.weights_labeled
        own = self.Y if w is None else self.Y * w[:, None]
        return own / own.sum(axis=0)

    @cached_property
    def share_unlabeled(self) -> np.ndarray:
        v = self.problem.sampling.weights_unlabeled
        return np.full(len(self.g), 1 / len(self.g)) if v is None else v / v.sum()

    @cached_property
    def means(self) -> np.ndarray:
        """(K - 1, K) mean prediction of each class."""
        return self.f.T @ self.shares

    @cached_property
    def growth(self) -> np.ndarray:
        """(K,) what makes the variance of each mean unbiased, as n / (n - 1) does."""
        return 1 / np.maximum(1 - 1 / self.worth, 1e-9)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(K, J, J) covariance of the mean of values (n, J) within each class."""
        means = values.T @ self.shares
        found = []
        for h, m, grow, worth in zip(self.shares.T, means.T, self.growth, self.worth, strict=True):
            own, strange = self._by_unit(h[:, None] * (values - m)), (means.T - m) / worth
            found.append(own.T @ own * grow + strange.T @ strange * UNSEEN / (len(means.T) - 1))
        return np.array(found)

    @cached_property
    def worth(self) -> np.ndarray:
        """(K,) equal rows, or clusters, that those of each class count for."""
        return 1 / (self._by_unit(self.shares) ** 2).sum(axis=0)

    def _by_unit(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, J) summed over labeled clusters, if there are any."""
        clusters = self.problem.sampling.clusters_labeled
        if clusters is None:
            return rows
        _, code = np.unique(clusters, return_inverse=True)
        return group_sums(rows, code, code.max() + 1)

    @cached_property
    def unseen(self) -> np.ndarray:
        """(K, K, K) how a row of class k (first) that was predicted like class j (second) would move the shares."""
        back = np.linalg.inv(self.matrix)[:, :-1]
        strange = (self.means.T[None, :, :] - self.means.T[:, None, :]) @ back.T
        return -strange * (self.theta / self.worth)[:, None, None] * np.sqrt(UNSEEN / (len(self.theta) - 1))

    @cached_property
    def matrix(self) -> np.ndarray:
        """(K, K) of the equations, the last of which says that shares add up to one."""
        return np.vstack([self.means, np.ones(self.Y.shape[1])])

    @cached_property
    def weakest(self) -> tuple[float, int, int]:
        """How many standard errors part the mean predictions of the two classes, or mixtures of classes, that are
        hardest to tell apart, and the two classes that these are mostly about."""
        K, V = self.Y.shape[1], self.spread(self.f)
        pairs = [np.eye(K)[k] - np.eye(K)[m] for k in range(K) for m in range(k)]
        # Mixtures that the predictions tell apart least, in units of their noise.
        differences = np.eye(K) - 1 / K
        size, axes = np.linalg.eigh(V.mean(axis=0))
        whitened = (axes / np.sqrt(np.maximum(size, 1e-12 * max(size.max(), 1e-300)))).T @ self.means @ differences
        mixtures = [differences @ row for row in np.linalg.svd(whitened)[2]]
        found = []
        for c in [*pairs, *(c for c in mixtures if np.abs(c).max() > 1e-9)]:
            c = c / np.abs(c).max()
            signal, noise = self.means @ c, np.einsum("k,kpq->pq", c**2, V)
            noise = noise + 1e-12 * max(np.trace(noise), 1e-300) * np.eye(K - 1)
            found.append((float(np.sqrt(signal @ np.linalg.solve(noise, signal))), int(c.argmax()), int(c.argmin())))
        return min(found)

    @property
    def condition(self) -> float:
        """Condition number of the confusion matrix: by how much it may blow up what is not known."""
        return float(np.linalg.cond(np.vstack([1 - self.means.sum(axis=0), self.means])))

    @cached_property
    def theta(self) -> np.ndarray:
        """(K,) shares among the unlabeled rows."""
        return np.linalg.solve(self.matrix, np.append(self.share_unlabeled @ self.g, 1.0))

    @cached_property
    def moves(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, K) and (N, K) how labeled and unlabeled rows move the shares."""
        back = np.linalg.inv(self.matrix)[:, :-1]
        at = self.shares * np.sqrt(self.growth) * self.theta
        labeled = -(at.sum(axis=1)[:, None] * self.f - at @ self.means.T) @ back.T
        unlabeled = self.share_unlabeled[:, None] * (self.g - self.share_unlabeled @ self.g) @ back.T
        return labeled, unlabeled

    def misfit(self) -> tuple[float, int]:
        """Chi-squared of the hypothesis that unlabeled rows are a mixture of the labeled classes, and its degrees of
        freedom: their mean squared predictions against those of the mixture (0 where squares say nothing new)."""
        squares, others = self.f**2, self.g**2
        labeled, unlabeled = self.moves
        means = squares.T @ self.shares
        gap = self.share_unlabeled @ others - means @ self.theta
        at = self.shares * self.theta
        by_labeled = -(at.sum(axis=1)[:, None] * squares - at @ means.T) - labeled @ means.T
        by_other = self.share_unlabeled[:, None] * (others - self.share_unlabeled @ others) - unlabeled @ means.T
        V = by_labeled.T @ by_labeled + by_other.T @ by_other
        if np.diag(V).min() <= 1e-9 * np.abs(gap).max() ** 2 or np.linalg.cond(V) > 1e10:
            return 0.0, 0
        return float(gap @ np.linalg.solve(V, gap)), len(gap)


def solve_label_shift(parts: Contributions) -> Rectified:
    """The shares of the classes among unlabeled rows, with the sampling error of the confusion matrix in theirs.

    Raises:
        ValueError: for a class of a single row, and predictions that do not tell the classes apart.
    """
    problem = parts.problem
    found = Confusion(problem)
    names = class_names(problem)
    few = [name for name, number in zip(names, found.Y.sum(axis=0), strict=True) if number < 2]
    if few:
        raise ValueError(
            f"one labeled row alone has {', '.join(few)}, which leaves unknown how predictions vary there."
        )
    if len(found.g) < 2:
        raise ValueError("one unlabeled row shows nothing of shares among such rows; pass more of them.")
    contrast, k, m = found.weakest
    if not contrast > LEAST_CONTRAST:
        raise ValueError(
            f"the mean predictions of {names[k]} and of {names[m]} ({_numbers(found.means[:, k])} and "
            f"{_numbers(found.means[:, m])}) differ by less than {LEAST_CONTRAST:g} standard errors (condition number "
            f"of the confusion matrix {found.condition:.0f}): these predictions cannot show their shares elsewhere. "
            "Merge the classes, label more rows of them, or use a better predictor."
        )
    labeled, unlabeled = found.moves
    wanted = slice(None) if problem.y.ndim > 1 else slice(1, 2)
    labeled, unlabeled = labeled[:, wanted], unlabeled[:, wanted]
    sampling = problem.sampling
    unseen = found.unseen[:, :, wanted]
    more = np.einsum("kjp,kjq->pq", unseen, unseen)
    if sampling.clusters_labeled is None:
        covariance = labeled.T @ labeled + unlabeled.T @ unlabeled + more
        df = _degrees_of_freedom(found, labeled, unlabeled, unseen)
    else:
        ids = np.concatenate([sampling.clusters_labeled, sampling.clusters_unlabeled])
        _, code = np.unique(ids, return_inverse=True)
        sums = group_sums(np.concatenate([labeled, unlabeled]), code, code.max() + 1)
        covariance = sums.T @ sums + more
        df = np.full(labeled.shape[1], float(max(problem.n_labeled_units - len(names), 1)))
    if problem.reference != "t":
        df = np.full(labeled.shape[1], np.inf)
    terms = df if np.ptp(df) > 0 else None
    return Rectified(LABEL_SHIFT, found.theta[wanted], covariance, float(df.min()), 1.0, df_terms=terms)


def class_names(problem: Problem) -> list[str]:
    """How messages call the classes."""
    classes = getattr(problem.estimand, "classes", None)
    return (
        [repr(c) for c in classes] if classes else [f"rows without {problem.terms[0]}", f"rows with {problem.terms[0]}"]
    )


def _degrees_of_freedom(found: Confusion, labeled: np.ndarray, unlabeled: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """(P,) of Welch and Satterthwaite: variances of independent means, each with its own rows."""
    by_class = found.Y.T @ labeled**2 + (unseen**2).sum(axis=1)
    rows = np.append(found.worth, 1 / (found.share_unlabeled**2).sum()) - 1
    each = np.vstack([by_class, (unlabeled**2).sum(axis=0)])
    return np.maximum(each.sum(axis=0) ** 2 / (each**2 / rows[:, None]).sum(axis=0), 1.0)


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{v:.3g}" for v in values)
