"""p(one column | the others): fitted on rows that know the column, drawn and scored for rows that may not.

    model = fit_column(table.drop(columns="age"), table["age"], seed=0)      # rows without an age are left out
    ages = model.draw(rows, np.random.default_rng(0))                        # whole numbers if ages are
    score = model.log_density(rows, rows_age)                                # log-mass of levels and whole numbers

The in-context model answers with its full predictive distribution, numbers and levels alike (more than ten levels by
its tree of questions). Rows may lack cells. `draw_each` answers for several fitted columns in shared forward passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from icl.estimators.classifier import ICLClassifier
from icl.estimators.regressor import ICLRegressor
from icl.joint.kinds import Kind
from icl.joint.left_out import LeftOut, settle
from icl.joint.marginal import MarginalColumn
from icl.joint.network import NetworkColumn, answers
from icl.joint.quick import QuickColumn
from icl.joint.strays import Strays
from icl.tables.strays import varies

MODELS = ("network", "quick")
# Fewer rows than this say nothing of how a column depends on others.
FEWEST_ROWS = 5


def check_options(options: Mapping[str, Any]) -> None:
    """TypeError for options that estimators do not have, also where no column is given to one."""
    known = {**ICLRegressor().get_params(deep=False), **ICLClassifier().get_params(deep=False)}
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"unknown options {unknown}; beside the named ones, those of estimators: {', '.join(known)}.")


class ColumnModel(Protocol):
    """The distribution of one column given others.

    Attributes:
        kind: of the column; what is drawn has its dtype, levels, grid and bounds.
        shares: (n, L) of a column of levels, the probabilities that the last draw was from.
        strays: numbers far from all others, which are drawn as often as they were seen.
        common: of a column of numbers, what was last drawn before some of it became strays.
    """

    kind: Kind
    shares: np.ndarray | None
    strays: Strays | None
    common: np.ndarray | None

    def draw(self, X: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
        """One draw for each row of X, independent given the model."""
        ...

    def log_density(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        """(n,) log-mass of levels and of numbers on a grid, log density of others; NaN where y is missing."""
        ...


def fit_column(
    X: pd.DataFrame,
    y: pd.Series,
    *,
    kind: Kind | None = None,
    model: str = "network",
    weight: np.ndarray | None = None,
    seed: int = 0,
    tilt: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
    draw_line: bool = False,
) -> ColumnModel:
    """The distribution of y given X, from the rows whose y is known.

    Args:
        X: n rows of other columns, of any kinds, with gaps; it may have no columns at all.
        y: (n,) the column; rows where it is missing are left out.
        kind: of y, if it was read off more rows than these.
        model: "network", the in-context model; "quick", ridge and a small forest, for long and wide tables.
        weight: (n,) whole numbers: how often each row counts, as in a bootstrap sample. Rows of weight 0 are not there;
            others say where the column is asked about, also if they lack it.
        seed: of what the model draws when it is fitted.
        tilt: of a column of levels, log odds to add to each level in draws, as in a sensitivity analysis.
        draw_line: `weight` is a bootstrap sample; the straight part of a number is a draw given all rows that know the
            column, those of weight 0 too, and the sample is for what the straight part leaves.
        options: arguments for `ICLRegressor` and `ICLClassifier`, such as `checkpoint`; default: quality="fast".
    Raises:
        ValueError: for an unknown model, or a column without an observed cell.
    """
    if model not in MODELS:
        raise ValueError(f"model got {model!r}; known are {', '.join(map(repr, MODELS))}.")
    kind = Kind.of(y) if kind is None else kind
    numbers = kind.numbers(y)
    count = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    reach = X.iloc[np.flatnonzero(count > 0)]
    rows = np.flatnonzero(np.isfinite(numbers) & (count > 0))
    n_values = len(np.unique(numbers[rows]))
    if n_values < 2 or len(rows) < FEWEST_ROWS or not varies(X.iloc[rows]):
        return MarginalColumn(kind, numbers[rows], count[rows], tilt)
    rng = np.random.default_rng(seed) if draw_line and not kind.is_class else None
    if rng is not None:
        rows = np.flatnonzero(np.isfinite(numbers))
    known, count, X = numbers[rows], count[rows], X.iloc[rows]
    if model == "quick":
        return QuickColumn(kind, X, known, count, seed, tilt, reach, rng)
    sample = count if weight is not None else None
    return NetworkColumn(kind, X, known, sample, seed, options or {}, tilt, reach, rng)


def draw_each(
    models: Sequence[ColumnModel],
    tables: Sequence[pd.DataFrame],
    rngs: Sequence[np.random.Generator],
    left_out: Sequence[LeftOut] | None = None,
) -> list[pd.Series]:
    """One draw for each row of each table from its own model; networks answer in shared forward passes.

    What is drawn for a table does not depend on the others beyond rounding, and not at all on their generators.

    Args:
        left_out: if all are models of one column, rows that the sample of each left out: what networks say is scaled
            by how well it fits there (`icl.joint.left_out.settle`).
    """
    drawn: list[Any] = [None] * len(models)
    asked = [i for i, model in enumerate(models) if isinstance(model, NetworkColumn) and len(tables[i])]
    for i, model in enumerate(models):
        if i not in asked:
            drawn[i] = model.draw(tables[i], rngs[i]) if len(tables[i]) else model.kind.cells(np.empty(0))
    if not asked:
        return drawn
    networks = [model for i in asked if isinstance(model := models[i], NetworkColumn)]
    checks = [left_out[i] for i in asked] if left_out is not None else []
    said = answers([*networks, *(networks if checks else [])], [*(tables[i] for i in asked), *(c.X for c in checks)])
    if checks:
        settle(networks, said[len(networks) :], checks)
    for i, model, answer in zip(asked, networks, said):
        drawn[i] = model.kind.cells(model.drawn(answer, tables[i], rngs[i]), tables[i].index)
    return drawn
