"""How much of the predictions enters the answer. The weight is decided once, before any interval or p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from icl.inference.rectify import Problem

NAMED_WEIGHTS = ("auto", "ppi++", "synsurr")


@dataclass(frozen=True)
class Weight:
    """W of theta = beta + W (eta_elsewhere - eta_labeled), and how far the labeled outcomes moved it.

    Shapes: n labeled rows. `lever` and `leverage` are None for a weight that was fixed beforehand.
    """

    name: str
    value: float
    pooled: bool = False
    """eta_elsewhere is solved on all rows (SynSurr) instead of the unlabeled ones (PPI)."""
    lever: np.ndarray | None = None
    """(n,) derivative of `value` by the residual of each labeled row."""
    leverage: np.ndarray | None = None
    """(n,) share of each labeled row in deciding `value`; sums to one."""
    is_defined: bool = True
    """False where predictions carry nothing beyond the covariates, so that any weight gives the same answer."""

    @property
    def tuned(self) -> bool:
        return self.name in NAMED_WEIGHTS


def read_weight(weight: str | float, compat: str | None = None) -> str | float:
    """`weight` with `auto` resolved; ValueError if it is none of the known ones.

    `auto` is `synsurr`: its slope is fitted against the labeled predictions alone, so that chance differences
    in the spread of labeled and unlabeled predictions do not enter. With n = 10, N = 1,000 normal rows and a
    correlation of .9 its root mean squared error is .15 against .20 for `ppi++` (benchmarks/coverage.md has more).
    """
    if isinstance(weight, str):
        if weight not in NAMED_WEIGHTS:
            raise ValueError(
                f"weight got {weight!r}; known are {', '.join(map(repr, NAMED_WEIGHTS))} and numbers "
                "(0 = labeled rows only, 1 = PPI)."
            )
        if compat is not None and weight == "synsurr":
            raise ValueError("compat='ppi_py' knows no weight 'synsurr'; use 'ppi++' or a number, or drop compat.")
        return {"auto": "synsurr" if compat is None else "ppi++"}.get(weight, weight)
    try:
        value = float(weight)
    except (TypeError, ValueError):
        raise ValueError(f"weight got {weight!r}; pass 'auto', 'ppi++', 'synsurr' or one number.") from None
    if not np.isfinite(value):
        raise ValueError(f"weight got {value}; pass a finite number, 0 for labeled rows only, 1 for PPI.")
    return value


def name_of(weight: str | float) -> str:
    """The method that a weight stands for, as tables and plots print it."""
    return (
        weight if isinstance(weight, str) else {0.0: "classical", 1.0: "ppi"}.get(float(weight), f"weight {weight:g}")
    )


def decide_weight(problem: Problem, weight: str | float) -> Weight:
    """The weight that `weight` (after `read_weight`) stands for on this problem."""
    if not isinstance(weight, str):
        return Weight(name_of(weight), float(weight))
    u = problem.labeled_f.residual
    information = u @ u
    if np.sqrt(information) <= 1e-10 * np.linalg.norm(problem.f_labeled):
        return Weight(weight, 0.0, pooled=weight == "synsurr", is_defined=False)
    return _synsurr(problem, u, information) if weight == "synsurr" else _power_tuned(problem, u, information)


def _synsurr(problem: Problem, u: np.ndarray, information: float) -> Weight:
    """Partial regression coefficient of the outcome on the predictions, given the covariates.

    Source: McCaw, Gao, Lin, Gronsbell (2024), Nature Genetics, doi:10.1038/s41588-024-01793-9.
    """
    lever = u / information
    return Weight("synsurr", float(lever @ problem.labeled_y.residual), True, lever, u * lever)


def _power_tuned(problem: Problem, u: np.ndarray, information: float) -> Weight:
    """The scalar that minimises the sum of the variances of the coefficients; not clipped.

    Source: Angelopoulos, Duchi, Zrnic (2023), PPI++, arXiv:2311.01453. Deviation: each group of rows is centered
    at its own solution, which is what the estimate uses, so the weight does not depend on the level of the predictions.
    """
    n, N = len(u), len(problem.X_unlabeled)
    P = len(problem.terms)
    f_labeled, f_unlabeled = n * problem.labeled_f.influence, N * problem.unlabeled_f.influence
    variance = ((f_labeled**2).sum() + (f_unlabeled**2).sum()) / (n + N - 2 * P)
    lever = n * np.einsum("np,np->n", problem.labeled_y.lever, f_labeled) / ((n - P) * (1 + n / N) * variance)
    return Weight("ppi++", float(lever @ problem.labeled_y.residual), False, lever, u * u / information)
