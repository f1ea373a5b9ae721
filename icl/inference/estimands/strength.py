"""How strongly instruments move what they instrument, and whether they agree with one another.

What counts is the labeled rows: the first stage may be fitted on all rows, but the covariance of instrument and
treatment that divides the estimate is that of labeled ones. Nominal .95, 100 labeled rows, errors of both stages
correlated at .9 and at .99 (800 samples each): with a first-stage F of 200 on 2,000 rows and of 10 on the labeled ones
.92 covered, with 40 and 2 .88 and .85, with 20 and 1 .84 and .80.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl.inference.checks import Diagnostic

WEAK = 10.0
"""First-stage F statistic below which two-stage least squares is biased and its intervals too short: Staiger & Stock
(1997), doi:10.2307/2171753."""
WORST_CASE = {1: (16.38, 8.96, 6.66, 5.53), 2: (19.93, 11.59, 8.75, 7.25), 3: (22.30, 12.83, 9.54, 7.80),
              4: (24.58, 13.96, 10.26, 8.31), 5: (26.87, 15.09, 10.98, 8.84)}  # fmt: skip
"""By the number of instruments of one treatment, F above which a 95% interval covers at least .90, .85, .80 and .75
whatever correlates the errors: Stock & Yogo (2005), doi:10.1017/CBO9780511614491.006, table 5.2; of more than five, as
of five."""
DISAGREE = 0.01
"""Error rate of the test whether instruments agree."""


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Regressors X (n, p), of which some are endogenous, and Z, their exogenous columns first and then instruments; the
    units of none of them matter."""

    X: np.ndarray
    Z: np.ndarray
    is_endogenous: np.ndarray

    def __post_init__(self) -> None:
        for name in ("X", "Z"):
            columns = getattr(self, name)
            unit = np.sqrt((columns**2).mean(axis=0))
            object.__setattr__(self, name, columns / np.where(unit > 0, unit, 1))

    def F(self, j: Any, robust: bool = False) -> float:
        """Of the instruments, for the j-th regressor: how well they tell it from exogenous and other endogenous ones.

        With several endogenous regressors one instrument may move all of them, each strongly, and tell none apart;
        hence the conditional F of Sanderson & Windmeijer (2016), doi:10.1016/j.jeconom.2015.06.004. `robust`: the
        effective F of Montiel Olea & Pflueger (2013), Journal of Business & Economic Statistics 31, 358, where errors
        are uneven; of a single endogenous regressor.
        """
        exogenous, others = self.X[:, ~self.is_endogenous], self.is_endogenous.copy()
        others[j] = False
        base, Q = basis(exogenous), basis(self.Z)
        x = self.X[:, j]
        if others.any():
            told = np.hstack([exogenous, Q @ (Q.T @ self.X[:, others])])
            x = x - np.hstack([exogenous, self.X[:, others]]) @ np.linalg.lstsq(told, x, rcond=None)[0]
        x = x - base @ (base.T @ x)
        free = basis(self.Z - base @ (base.T @ self.Z))
        k, df = free.shape[1] - int(others.sum()), max(len(x) - Q.shape[1], 1)
        if k < 1:
            return 0.0
        slopes = free.T @ x
        rest = x - free @ slopes
        if robust and not others.any():
            return float(slopes @ slopes / max((free**2).sum(axis=1) @ rest**2 * len(x) / df, 1e-300))
        return float(slopes @ slopes / k / max(rest @ rest / df, 1e-300))

    def disagreement(self, y: np.ndarray) -> tuple[float, int]:
        """Chi-squared of the hypothesis that more instruments than are needed all give one answer, and its degrees of
        freedom (0 where there are no more than needed).

        Source: Sargan (1958), doi:10.2307/1907619, valid where errors are uneven as in Wooldridge (2010)
        chapter 6.3.
        """
        Q = basis(self.Z)
        fitted = Q @ (Q.T @ self.X)
        W = basis(fitted)
        spare = basis(self.Z - W @ (W.T @ self.Z))
        if Q.shape[1] <= W.shape[1]:
            return 0.0, 0
        u = y - self.X @ np.linalg.lstsq(fitted, y, rcond=None)[0]
        scores = spare * u[:, None]
        total = scores.sum(axis=0)
        return float(total @ np.linalg.pinv(scores.T @ scores) @ total), spare.shape[1]


def strength_findings(stage: FirstStage, y: np.ndarray, terms: list[str]) -> Iterator[Diagnostic]:
    """Findings on labeled rows, of which `stage` has the regressors, named `terms`, and y (n,) is the outcome."""
    from scipy.special import chdtrc

    spare = stage.Z.shape[1] - stage.X.shape[1]
    for j in np.flatnonzero(stage.is_endogenous):
        F = stage.F(j, robust=True)
        enough, *bounds = WORST_CASE[min(spare + 1, 5)]
        if enough > F:
            covers = next((c for c, bound in zip((0.85, 0.80, 0.75), bounds, strict=True) if bound < F), 0.0)
            worst = f"as few as {covers:.0%}" if covers else "fewer than 75%"
            yield Diagnostic(
                "weak_instrument",
                f"on the {len(y)} labeled rows the instruments of {terms[j]!r} have a first-stage F of {F:.1f} "
                f"(more rows without an outcome do not help): a 95% interval covers {worst} in the worst case, and the "
                "estimate leans to that of least squares. Label more rows, or find stronger instruments.",
                "warning" if F < WEAK else "note",
            )
    statistic, df = stage.disagreement(y)
    if df and chdtrc(df, statistic) < DISAGREE:
        yield Diagnostic(
            "instruments_disagree",
            f"the instruments give different answers (p = {chdtrc(df, statistic):.2g}): one of them moves the outcome "
            "by another way, or effects differ between those whom each of them moves. Estimate with each alone and "
            "say what differs.",
            "warning",
        )


def check_strength(stage: FirstStage, terms: list[str]) -> None:
    """ValueError for instruments that hardly move what they instrument, on all rows."""
    for j in np.flatnonzero(stage.is_endogenous):
        if (F := stage.F(j)) < WEAK:
            raise ValueError(
                f"the instruments of {terms[j]!r} hardly move it: first-stage F {F:.1f}, below {WEAK:g}. Estimates "
                "from weak instruments are biased and their intervals too short; find stronger ones, or more rows."
            )


def basis(X: np.ndarray) -> np.ndarray:
    """(n, k) orthonormal columns that span those of X (n, p); what is 0 but for rounding, on the scale of 1, is left
    out."""
    Q, R = np.linalg.qr(X)
    U, s, _ = np.linalg.svd(R)
    return Q @ U[:, : len(s)][:, s > 1e-9 * max(s.max(initial=0.0), np.sqrt(len(X)))]
