"""How far what is missing would have to differ from what it seems before a conclusion changes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icl.inference.analysis import infer
from icl.joint.impute import impute


@dataclass(frozen=True, eq=False)
class TippingPoint:
    """What `tipping_point` returns.

    Attributes:
        frame: a row for each shift: shift, estimate, lower, upper, p.value.
        term: that is asked about.
        column: that is shifted.
        at: the smallest shift, in size, at which the interval changes sides of zero (comes to hold it, or no longer
            does); None if it never does among those tried.
    """

    frame: pd.DataFrame
    term: str
    column: Hashable
    at: float | None

    def plot(self, ax: Any = None) -> Any:
        """Estimate and interval against the shift."""
        from icl.pages.chains import plot_tipping

        return plot_tipping(self.frame, self.term, self.column, ax)

    def __repr__(self) -> str:
        tips = "at none of the shifts tried" if self.at is None else f"at a shift of {self.at:g}"
        return f"TippingPoint of {self.term!r}: the conclusion changes {tips} of {self.column!r}\n{self.frame}"


def tipping_point(
    estimand: Any,
    table: Any,
    column: Hashable,
    shifts: Sequence[float] = (-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0),
    *,
    term: str | None = None,
    level_of: Any = None,
    m: int = 20,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    **analysis: Any,
) -> TippingPoint:
    """The answer under one imputation after the other, each shifted by more: where does it tip?

    Args:
        estimand: as `infer` takes it.
        table: with its gaps.
        column: whose draws are shifted.
        shifts: standard deviations of a column of numbers; log odds of `level_of` for a column of levels.
        term: of the estimand; default: the first that is no intercept.
        level_of: of a column of levels, the level that is made likelier.
        m, seed: of `icl.impute`; the same draws under every shift, but for it.
        options: other arguments of `icl.impute`, such as `keep`.
        **analysis: other arguments of `infer`, such as `predictor`.
    Raises:
        ValueError: for a column without gaps, or a term that the estimand does not have.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=60)
        >>> table = pd.DataFrame({"x": np.where(rng.random(60) < 0.3, np.nan, x), "y": x + rng.normal(size=60)})
        >>> tips = icl.tipping_point("ols: y ~ x", table, "x", shifts=(0.0, 1.0), m=3)
        >>> tips.frame["shift"].tolist(), tips.term
        ([0.0, 1.0], 'x')
    """
    if not len(shifts):
        raise ValueError("shifts is empty; pass the shifts to try, such as (-0.5, 0.0, 0.5).")
    rows: list[list[float]] = []
    for shift in sorted(shifts):
        amount = shift if level_of is None else {level_of: shift}
        imputed = impute(table, m, seed, shift={column: amount}, **(options or {}))
        result = infer(estimand, imputed, **analysis)  # type: ignore[arg-type]  # completed tables
        names = list(result.estimate.index)
        if term is None:
            term = next((name for name in names if name != "Intercept"), names[0])
        if term not in names:
            raise ValueError(f"term got {term!r}; the terms of {estimand} are {names}.")
        place = names.index(term)
        ends: np.ndarray = result.interval()[["lower", "upper"]].to_numpy()[place]
        rows.append([shift, result.estimate.to_numpy()[place], *ends, result.p_value().to_numpy()[place]])
    frame = pd.DataFrame(rows, columns=["shift", "estimate", "lower", "upper", "p.value"])
    side = np.sign(frame["lower"]) * (np.sign(frame["lower"]) == np.sign(frame["upper"]))
    nearest = frame["shift"].abs().idxmin()
    changed = frame["shift"][side != side[nearest]]
    at = float(changed.iloc[int(changed.abs().argmin())]) if len(changed) else None
    return TippingPoint(frame, str(term), column, at)
