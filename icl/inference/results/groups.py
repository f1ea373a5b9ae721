"""The means of many groups, each borrowing from the others, with intervals that stay honest.

The estimate of group j, with variance v_j, is pulled toward a target m_j: the mean of all groups, or the mean of the
predictions in the group where predictions track the groups. By how much, v_j / (A + v_j), is decided by one number A
that minimises Stein's unbiased estimate of the summed squared error (Xie, Kou & Brown 2012,
doi:10.1080/01621459.2012.728154; for prediction-powered estimates arXiv:2502.14166); nothing is assumed about how the
true means are distributed. The target with the smaller risk is taken.

A shrunken estimate is biased, by more in groups far from the target. Its interval is widened for the largest average
miss that any distribution of the true means with second moment A about the targets allows (Armstrong, Kolesar &
Plagborg-Moller 2022, doi:10.3982/ECTA18597): of many groups at least `level` are covered, on average over them; for a
single group, chosen beforehand, the unshrunken interval of the result is the one to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import check_level
from icl.inference.engine.shares import is_one_hot

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.results.result import InferenceResult

FEWEST_GROUPS = 5


@dataclass(frozen=True, eq=False)
class Groups:
    """Attributes:
    frame: a row for each group: estimate, lower, upper (shrunken), raw, raw_lower, raw_upper, target, pull.
    toward: "mean" or "predictions".
    spread: root of A, how far the true means are thought to lie from their targets.
    """

    frame: pd.DataFrame
    toward: str
    spread: float
    level: float

    def plot(self, ax: Any = None) -> Any:
        """Caterpillar plot: groups in the order of their shrunken estimates, the unshrunken ones in grey."""
        import matplotlib.pyplot as plt

        table = self.frame.sort_values("estimate")
        J = len(table)
        ax = plt.subplots(figsize=(6, min(1 + 0.18 * J, 14)), layout="constrained")[1] if ax is None else ax
        at = np.arange(J)
        ax.hlines(at + 0.15, table["raw_lower"], table["raw_upper"], color="0.8", lw=1)
        ax.plot(table["raw"], at + 0.15, ".", color="0.7", label="by itself")
        ax.hlines(at, table["lower"], table["upper"], color="tab:blue", lw=1.5)
        ax.plot(table["estimate"], at, "o", ms=3.5, color="tab:blue", label=f"shrunken toward the {self.toward}")
        ax.set_yticks(at if J <= 60 else [], table.index if J <= 60 else [])
        ax.set(xlabel=f"mean, {100 * self.level:g}% interval", ylim=(-1, J))
        ax.legend(frameon=False, loc="lower right", fontsize="small")
        return ax


def shrink_groups(result: InferenceResult, toward: str = "auto", level: float | None = None) -> Groups:
    """The means of groups from `infer(Mean("y", by="group"), ...)`, shrunken.

    Args:
        toward: "mean" of the groups, "predictions" (their mean in each group, moved to the level of the estimates), or
            "auto", whichever promises the smaller error.
        level: average coverage of the intervals; default: that of the result.
    Raises:
        ValueError: for a result that is not of group means, or of fewer than five groups.
    """
    import pandas as pd

    problem = result.problem
    if not is_one_hot(problem.X_labeled) or len(result.estimate) < FEWEST_GROUPS:
        raise ValueError(
            f"shrink_groups got {len(result.estimate)} terms of {str(result.estimand)!r}; it takes the means of at "
            f"least {FEWEST_GROUPS} groups, such as infer(Mean('y', by='group'), ...)."
        )
    if toward not in ("auto", "mean", "predictions"):
        raise ValueError(f"toward got {toward!r}; known are 'auto', 'mean' and 'predictions'.")
    level = check_level(result.level if level is None else level)
    y, v = result.estimate.to_numpy(), np.diag(result.covariance.to_numpy()).copy()
    targets = {"mean": np.full(len(y), np.average(y, weights=1 / v))}
    if problem.has_predictions and toward != "mean":
        f = np.concatenate([problem.f_labeled, problem.f_unlabeled])
        X = np.concatenate([problem.X_labeled, problem.X_unlabeled])
        mean_f = X.T @ f / X.sum(axis=0)
        targets["predictions"] = mean_f + np.average(y - mean_f, weights=1 / v)
    elif toward == "predictions":
        raise ValueError("toward='predictions' got a result without predictions; use 'mean'.")
    if toward != "auto":
        targets = {toward: targets[toward]}
    risks = {name: _best(y, v, m) for name, m in targets.items()}
    chosen = min(risks, key=lambda name: risks[name][0])
    m, A = targets[chosen], risks[chosen][1]
    keep = A / (A + v)
    estimate = m + keep * (y - m)
    # In intervals A has a floor: that no spread was seen does not mean that there is none.
    wide = max(A, 2 * float((v**2).sum()) / (len(v) * float(v.sum())))
    kept = wide / (wide + v)
    half = np.array([critical_value(q, 1 - level) for q in v / wide]) * kept * np.sqrt(v)
    center = m + kept * (y - m)
    raw = result.interval(level)
    frame = pd.DataFrame(
        {
            "estimate": estimate, "lower": center - half, "upper": center + half, "raw": y,
            "raw_lower": raw["lower"].to_numpy(), "raw_upper": raw["upper"].to_numpy(), "target": m, "pull": 1 - keep,
        },
        result.estimate.index,
    )  # fmt: skip
    return Groups(frame, chosen, float(np.sqrt(A)), level)


def critical_value(m2: float, alpha: float) -> float:
    """The half-width, in standard errors, at which a normal estimate with mean squared bias m2 misses with alpha.

    The worst distribution of the bias puts mass on zero and on one point beyond: the concave majorant of the miss rate.
    """
    from scipy.special import ndtr

    grid = m2 + np.concatenate([[0.0], np.geomspace(1e-3, 400.0, 400)])
    root = np.sqrt(grid)
    low, high = 0.0, float(np.sqrt(m2 / alpha + 9) + 4)
    for _ in range(50):
        chi = (low + high) / 2
        miss = ndtr(-chi - root) + ndtr(-chi + root)
        at_zero = 2 * ndtr(-chi)
        share = np.where(grid > 0, m2 / np.where(grid > 0, grid, 1), 0.0)
        worst = float((at_zero + share * (miss - at_zero)).max())
        low, high = (chi, high) if worst > alpha else (low, chi)
    return high


def _best(y: np.ndarray, v: np.ndarray, m: np.ndarray) -> tuple[float, float]:
    """Stein's unbiased estimate of the risk at its minimum, and A there."""
    top = max(float(((y - m) ** 2).max()), float(v.max()))
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 10, 200) * top])
    total = grid[:, None] + v
    risk = ((v / total) ** 2 * (y - m) ** 2 + v * (grid[:, None] - v) / total).sum(axis=1)
    best = int(risk.argmin())
    return float(risk[best]), float(grid[best])
