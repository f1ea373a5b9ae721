"""`icl.impute`: m completed tables that differ by as much as the missing cells are unknown."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from icl.joint.chains import Chains
from icl.joint.column import check_options
from icl.joint.imputations import Imputations
from icl.joint.layout import Layout, n_rounds, read_shift, read_table
from icl.joint.progress import Progress


class ImputationWarning(UserWarning):
    """Gaps that stay, or chains that have not come to agree."""


def impute(
    table: Any,
    m: int = 20,
    seed: int = 0,
    *,
    shift: Mapping[Hashable, Any] | None = None,
    keep: Hashable | Sequence[Hashable] = (),
    rounds: int | None = None,
    budget: float = 4e6,
    progress: bool | None = None,
    **options: Any,
) -> Imputations:
    """Fill the gaps of a table m times, by draws from what the in-context model says of each column given the others.

    Every column keeps its kind: levels, whole numbers, rounding, bounds, dates, dtype. Analyse all m tables and pool
    (`infer(estimand, table=imputed)`, `imputed.combine`): one filled table by itself, or the mean of all, claims to
    know what was drawn, and intervals from it are too short. Assumes that whether a cell is missing depends on the
    observed cells only (missing at random); `shift` asks what if not.

    Args:
        table: a DataFrame or array, gaps as NaN or None.
        m: completed tables; 20 leaves intervals some percent wider than hundreds would.
        seed: the same seed and rows give the same draws, to the bit, in whatever order the rows come.
        shift: for a sensitivity analysis. Of a column of numbers, standard deviations of its observed cells to add to
            every draw ({"income": -0.2}); of levels, log odds to add ({"smoker": {"yes": 0.5}}).
        keep: columns whose gaps stay in the completed tables, such as an outcome that marks rows as unlabeled. They
            are drawn inside the chains all the same, for what they tell about others.
        rounds: in which every column is drawn again given the others; None: 1 if one column has gaps, else 5.
        budget: cells that the network reads, over all chains and rounds. Columns with most gaps come first; those
            beyond the budget are drawn by a straight part and a small forest. 4e6 are about a minute on two cores.
        progress: whether to show progress on stderr; None: in a terminal.
        **options: for `ICLRegressor` and `ICLClassifier`, such as `checkpoint` or `quality` (default "fast").
    Returns:
        Imputations: iterate over it for the m tables.
    Raises:
        ValueError: for a table without rows, or arguments that cannot be used. A table without gaps comes back m times.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=60)
        >>> table = pd.DataFrame({"x": np.where(rng.random(60) < 0.3, np.nan, x), "y": x + rng.normal(size=60)})
        >>> imputed = icl.impute(table, m=3, seed=0)
        >>> len(imputed), int(imputed[0].isna().sum().sum())
        (3, 0)
    """
    started = time.perf_counter()
    check_options(options)
    frame = read_table(table)
    check_numbers(m, seed, rounds, budget)
    kept = _names(keep, frame)
    layout = Layout.of(frame, m, rounds, budget)
    shifts = read_shift(shift, frame, layout)
    turns = n_rounds(layout.incomplete, rounds)
    chains = Chains(frame, layout, m, seed, shifts, options)
    with Progress("imputing", turns * len(layout.incomplete) * m, progress) as step:
        drawn = chains.run(turns, step)
    imputed = Imputations(frame, layout, drawn, m, seed, dict(shift or {}), tuple(kept), time.perf_counter() - started)
    for said in imputed.notes():
        warnings.warn(said, ImputationWarning, stacklevel=2)
    return imputed


_MOST = 100_000  # tables and rounds; more is a slip of the pen


def check_numbers(m: int, seed: int, rounds: int | None, budget: float) -> None:
    """ValueError for what is no number of tables, seed, number of rounds or budget."""
    for name, value, least in (("m", m, 2), ("seed", seed, 0), ("rounds", 1 if rounds is None else rounds, 1)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} got {value!r}; pass a whole number of at least {least}.")
        if name != "seed" and value > _MOST:
            raise ValueError(f"{name} got {value:,}; pass {_MOST:,} at most.")
    if isinstance(budget, bool) or not isinstance(budget, Real) or not budget >= 0:
        raise ValueError(f"budget got {budget!r}; pass a number of cells, such as 4e6, or 0 for simpler models alone.")


def _names(keep: Any, frame: Any) -> list[Hashable]:
    names = list(keep) if isinstance(keep, list | tuple | set) else [keep]
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise ValueError(f"keep names {unknown}, which the table does not have; its columns are {list(frame.columns)}.")
    return names
