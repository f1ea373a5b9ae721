"""How likely each row of a table is, given the others: log densities, and scores of outliers made of them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from icl.joint.column import check_options
from icl.joint.kinds import part_of
from icl.joint.synthetic.chain import Chain, draw_orders, kinds_of
from icl.joint.synthetic.generate import MOST_ROWS_SHOWN
from icl.tables.encoder import as_pandas


def log_density(
    table: pd.DataFrame,
    at: pd.DataFrame | None = None,
    *,
    orders: int = 2,
    folds: int = 3,
    seed: int = 0,
    model: str = "network",
    **options: Any,
) -> pd.Series:
    """Log density (nats) of each row under the in-context model of the whole table.

    The average of the densities that several orders of the columns give; levels, whole numbers and other grids count
    with their mass, other numbers with their density per unit, a gap with its probability. Compare rows of one table:
    the level depends on units.

    Args:
        table: rows to learn from.
        at: rows to score, with the same columns; None scores the rows of the table, each from folds without it.
        orders, folds: time grows with both.
        seed, model, options: as for `icl.generate`.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> x = np.arange(60) % 12
        >>> table = pd.DataFrame({"x": x, "y": 2.0 * x})
        >>> found = icl.log_density(table, pd.DataFrame({"x": [5, 5], "y": [10.0, 20.0]}), model="quick")
        >>> bool(found[0] > found[1])
        True
    """
    densities = _by_column(table, at, orders, folds, seed, model, options)
    whole = logsumexp([parts.sum(axis=1).to_numpy() for parts in densities], axis=0) - np.log(len(densities))
    return pd.Series(whole, densities[0].index, name="log_density")


def outlier_scores(
    table: pd.DataFrame,
    *,
    orders: int = 2,
    folds: int = 3,
    seed: int = 0,
    model: str = "network",
    **options: Any,
) -> pd.Series:
    """How strange each row of a table is beside the others; higher is stranger.

    Minus the log density of `icl.log_density`, each row from folds without it, measured in every column from what is
    usual there: units do not matter, and 0 is an ordinary row. A row may be strange although each cell is usual, if the
    cells do not go together.

    Args: as for `icl.log_density`.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> x = np.arange(60) % 12
        >>> table = pd.DataFrame({"x": x, "y": 2.0 * x + np.arange(60) % 5})
        >>> table.loc[7, "y"] = -30
        >>> int(icl.outlier_scores(table, model="quick").idxmax())
        7
    """
    table, total = as_pandas(table), None
    densities = _by_column(table, None, orders, folds, seed, model, options)
    for parts in densities:
        usual = parts.mask(table.isna()).median()  # a gap has no density, only its probability
        strange = -(parts - usual.where(usual.notna(), 0.0) * table.notna()).sum(axis=1)
        total = strange if total is None else total + strange
    assert total is not None
    return (total / len(densities)).rename("outlier_score")


def _by_column(
    table: pd.DataFrame,
    at: pd.DataFrame | None,
    orders: int,
    folds: int,
    seed: int,
    model: str,
    options: dict[str, Any],
) -> list[pd.DataFrame]:
    """For each order, what each column adds to the log density of each row."""
    check_options(options)
    table, at = as_pandas(table), as_pandas(at)
    kinds = kinds_of(table)
    for name, number, least in (("orders", orders, 1), ("folds", folds, 2)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}.")
    if at is not None and (lacking := [name for name in table.columns if name not in at.columns]):
        raise ValueError(f"the rows to score lack the columns {lacking} of the table.")
    for rows in (table, table if at is None else at):
        for name in table.columns:
            if rows[name].dtype.kind == "f" and np.isinf(rows[name].to_numpy(dtype=float, na_value=0.0)).any():
                raise ValueError(f"column {name!r} holds infinity, which has no density; put a number or a gap there.")
    rng = np.random.default_rng(seed)
    found = []
    fold = rng.permutation(len(table)) % folds
    for k, order in enumerate(draw_orders(list(table.columns), [], orders, rng)):
        own = np.random.default_rng([seed, k])

        def chain(rows: pd.DataFrame, order: list = order, own: np.random.Generator = own) -> Chain:
            if len(rows) > MOST_ROWS_SHOWN:
                rows = rows.iloc[np.sort(own.permutation(len(rows))[:MOST_ROWS_SHOWN])]
            return Chain(rows, kinds, order, [], model, seed, options)

        if at is not None:
            found.append(chain(table).log_densities(part_of(at, table.columns)))
            continue
        parts = [chain(table[fold != held]).log_densities(table[fold == held]) for held in range(folds)]
        if table.index.is_unique:
            found.append(pd.concat(parts, sort=False).loc[table.index])
        else:
            found.append(_in_order(parts, fold, table))
    return found


def _in_order(parts: list[pd.DataFrame], fold: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    places = np.concatenate([np.flatnonzero(fold == held) for held in range(len(parts))])
    return pd.concat(parts, sort=False).set_axis(places).sort_index().set_axis(table.index)
