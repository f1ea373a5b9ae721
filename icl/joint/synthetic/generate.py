"""`icl.generate`: new rows that look like those of a table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.column import check_options
from icl.joint.kinds import Kind, frame_of, part_of
from icl.joint.progress import Progress, Step, unseen
from icl.joint.synthetic.chain import Chain, draw_orders, kinds_of
from icl.joint.synthetic.constraints import Constraint, read_constraints
from icl.joint.synthetic.given import Given, read_given
from icl.tables.encoder import as_pandas

# Of rows drawn, the share that must satisfy conditions and constraints; fewer, and the table says too little of them.
_LEAST_ACCEPTED = 0.002
_ROUNDS = 60
_FEW_COLUMNS, _SOME_COLUMNS = 12, 25
MOST_ROWS_SHOWN = 1_000
"""Rows of the table that each order of the columns learns from, at most; every order takes others."""


def generate(
    table: pd.DataFrame,
    rows: int | None = None,
    given: Mapping[Hashable, Any] | pd.DataFrame | None = None,
    seed: int = 0,
    *,
    constraints: str | Callable | Sequence[str | Callable] = (),
    orders: int | str = "auto",
    model: str = "network",
    folds: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> pd.DataFrame:
    """New rows of a table, drawn column after column from the in-context model's full predictive distributions.

    Columns keep their kind: dtype, levels, whole numbers, rounding, bounds, dates, and their gaps, which are drawn as
    part of the column. Rows are shared out over several random orders of the columns, because no order is right.
    Nothing is trained. Look at `icl.audit` before rows are used or passed on: synthetic is not anonymous.

    Args:
        table: rows to learn from.
        rows: to draw; default as many as the table has, or as `given` has.
        given: conditions. A value ({"sex": "F"}), a range of numbers or dates ({"age": (60, 80)}, None for an open
            side), several values ({"region": ["north", "east"]}), None for a missing cell. Dates as text are 2020-03-31
            or in another notation that is one day only, and in the time zone of the column if they name none. Or a
            DataFrame of some columns with a row for each row to draw, whose index the result has. Conditioned columns
            come first in every order, so that the others follow them; a range is kept by drawing until it holds.
        seed: the same seed, table and arguments give the same rows, to the bit.
        constraints: expressions between columns that every row keeps, such as "start <= end", or functions of a
            DataFrame that give a bool for each row. Rows of the table itself must keep them.
        orders: of the columns; "auto" is 4 for up to 12 columns, 2 for up to 25, else 1. Time grows with them.
        model: "network", or "quick" (a straight part and a small forest).
        folds: with a DataFrame of conditions some of whose index is that of the table: each of these rows is drawn from
            a table without its fold, so that its own cells are not known (for `infer(..., synthetic=)`).
        progress: whether to show progress on stderr; None: in a terminal. `icl.generation_time` tells the time before.
        **options: for `ICLRegressor` and `ICLClassifier`, such as `checkpoint` or `quality` (default "fast").
    Returns:
        A DataFrame with the columns, order and dtypes of the table.
    Raises:
        ValueError: for columns that cannot be drawn (free text, names of rows), conditions that the table says nothing
            about, and constraints that its rows break.

    Examples:
        >>> import icl, pandas as pd
        >>> from sklearn.datasets import load_iris
        >>> iris = load_iris(as_frame=True).frame[["petal length (cm)", "target"]].astype({"target": str})
        >>> new = icl.generate(iris, 5, given={"target": "0", "petal length (cm)": (1, 2)}, checkpoint="nano")
        >>> new.shape, bool(new["petal length (cm)"].between(1, 2).all()), set(new["target"])
        ((5, 2), True, {'0'})
    """
    check_options(options)
    table, given = as_pandas(table), as_pandas(given)
    kinds = kinds_of(table)
    if rows is None:
        rows = len(given) if isinstance(given, pd.DataFrame) else len(table)
    for name, number, least in (("rows", rows, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}.")
    if rows > 10**9:  # more is a slip of the pen, and overflows
        raise ValueError(f"rows must be 1,000,000,000 at most, got {rows:,}.")
    asked = read_given(given, table, kinds, int(rows))
    settings = (read_constraints(constraints, table), seed, orders, model, options)
    # Each order fits and draws each column; what is drawn again, because a condition does not hold, is not foreseen.
    n_steps = 2 * n_orders(orders, table.shape[1] - len(asked.fixed.columns)) * table.shape[1] * (folds or 1)
    with Progress("drawing columns", n_steps, progress) as step:
        if folds is None:
            return draw_table(table, kinds, asked, *settings, step)
        return _out_of_fold(table, kinds, asked, folds, settings, step)


def _out_of_fold(
    table: pd.DataFrame, kinds: Mapping[Hashable, Kind], asked: Given, folds: int, settings: tuple, step: Step
) -> pd.DataFrame:
    index = asked.fixed.index
    if isinstance(folds, bool) or not isinstance(folds, Integral) or folds < 2:
        raise ValueError(f"folds must be a whole number of at least 2, got {folds!r}.")
    if folds > len(index):
        raise ValueError(f"folds={folds} for {len(index)} rows of conditions; pass at most as many folds as rows.")
    if asked.allowed or not asked.fixed.shape[1] or not (table.index.is_unique and index.is_unique):
        raise ValueError(
            "folds= needs given= a DataFrame, and row names (an index) that do not repeat, in it and in the table: "
            "they say which rows are the same."
        )
    dealt = np.random.default_rng(settings[1]).permutation(len(index)) % folds
    parts = []
    for fold in range(folds):
        own = dealt == fold
        learnt = table[~table.index.isin(index[own])]
        parts.append(draw_table(learnt, kinds, Given(asked.fixed[own]), *settings, step))
    drawn = pd.concat(parts, sort=False).loc[index]
    drawn.attrs["folds"] = int(folds)
    return drawn


def draw_table(
    table: pd.DataFrame,
    kinds: Mapping[Hashable, Kind],
    asked: Given,
    kept: Sequence[Constraint],
    seed: int,
    orders: int | str,
    model: str,
    options: Mapping[str, Any],
    step: Step = unseen,
) -> pd.DataFrame:
    """A row for each row of the conditions `asked`, which satisfies them and the constraints `kept`.

    Args:
        step: is told of each column fitted or drawn.
    """
    rng, rows = np.random.default_rng(seed), len(asked.fixed)
    first = asked.columns
    chains = draw_orders(list(table.columns), first, n_orders(orders, table.shape[1] - len(asked.fixed.columns)), rng)
    # Dealt at random, so that no stretch of the rows comes from one order.
    dealt = np.array_split(rng.permutation(rows), len(chains))
    parts = []
    for k, (order, places) in enumerate(zip(chains, dealt)):
        own = np.random.default_rng([seed, k])
        learnt = table
        if len(table) > MOST_ROWS_SHOWN:
            learnt = table.iloc[np.sort(own.permutation(len(table))[:MOST_ROWS_SHOWN])]
        if not len(places):
            continue
        places = np.sort(places)
        chain = Chain(learnt, kinds, order, list(asked.fixed.columns), model, seed, options, step)
        drawn = draw_rows(chain, asked.fixed.iloc[places], asked, kept, own)
        parts.append(part_of(drawn, table.columns).set_axis(places))
    whole = pd.concat(parts, sort=False).sort_index()
    columns: dict[Hashable, Any] = {name: _typed(whole[name], kinds[name]) for name in table.columns}
    return frame_of(columns, whole.index).set_axis(asked.fixed.index).set_axis(table.columns, axis=1)


def n_orders(orders: int | str, n_columns: int) -> int:
    """Orders of the columns over which rows are shared out."""
    if isinstance(orders, str) and orders == "auto":
        return 4 if n_columns <= _FEW_COLUMNS else 2 if n_columns <= _SOME_COLUMNS else 1
    if isinstance(orders, bool) or not isinstance(orders, Integral) or orders < 1:
        raise ValueError(f"orders must be a whole number of at least 1 or 'auto', got {orders!r}.")
    return int(orders)


def draw_rows(
    chain: Chain, fixed: pd.DataFrame, asked: Given, constraints: Sequence[Constraint], rng: np.random.Generator
) -> pd.DataFrame:
    """A row for each row of `fixed`, which satisfies all conditions; rows that do not are drawn again."""
    n_first, n_all = len(asked.columns), len(chain.order)
    todo, parts = np.arange(len(fixed)), []
    n_drawn = 0
    rate = 1.0
    for _ in range(_ROUNDS):
        # As many as are likely to leave one for each row; of conditioned columns only, which come first.
        copies = int(min(np.ceil(1.2 / rate), 50)) if asked.allowed else 1
        places = np.repeat(todo, copies)
        n_drawn += len(places)
        began = chain.draw(fixed.iloc[places].reset_index(drop=True), n_first, rng)
        found = np.flatnonzero(asked.holds(began))
        rate = max(len(found) / len(places), 0.5 / len(places))
        _, one = np.unique(places[found], return_index=True)
        found = found[one]
        if len(found):
            drawn = chain.draw(began.iloc[found].reset_index(drop=True), n_all, rng)
            keeps = np.all([c.holds(drawn) for c in constraints], axis=0) if constraints else np.ones(len(drawn), bool)
            parts.append(drawn[keeps].set_axis(places[found][keeps]))
            todo = np.setdiff1d(todo, places[found][keeps])
        if not len(todo):
            return pd.concat(parts, sort=False).sort_index()
        if n_drawn > len(fixed) / _LEAST_ACCEPTED:
            break
    what = "; ".join([*asked.said.values(), *map(str, constraints)])
    raise ValueError(
        f"{len(todo)} of {len(fixed)} rows could not be drawn: of {n_drawn:,} drawn too few satisfy {what}. The table "
        f"says too little about such rows; widen the condition, or give a value instead of a range."
    )


def _typed(column: pd.Series, kind: Kind) -> pd.Series:
    """In the column's own dtype where no gap forbids it."""
    return kind.cells(kind.numbers(column), column.index)
