"""How long imputing and generating will take, told before they begin: their fits and passes at this machine's pace."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from icl.estimators.classifier import ICLClassifier
from icl.estimators.regressor import ICLRegressor
from icl.estimators.timed import words_of_seconds
from icl.joint.column import check_options
from icl.joint.impute import check_numbers
from icl.joint.kinds import Kind
from icl.joint.layout import MOST_SHOWN, Layout, n_rounds, read_table
from icl.joint.synthetic.chain import kinds_of
from icl.joint.synthetic.generate import MOST_ROWS_SHOWN, n_orders
from icl.prediction.atoms import find_atoms
from icl.tables.encoder import as_pandas

# Simpler models (`icl.joint.quick`): seconds of a fit and a draw of any size, and of their forest beside a companion's.
_QUICK, _OF_TREES = 0.02, 0.05


@dataclass(frozen=True)
class JointTime:
    """Seconds that a call will take on this machine, if nothing else runs on it.

    Attributes:
        seconds: in all.
        network: of them, those in which the network reads and answers.
        fits: of models of one column.
        what: that is done, in words.
    """

    seconds: float
    network: float
    fits: int
    what: str

    def __str__(self) -> str:
        return f"about {words_of_seconds(self.seconds)}: {self.what}, {self.fits:,} fits"


def imputation_time(
    table: Any,
    m: int = 20,
    seed: int = 0,
    *,
    shift: Any = None,
    keep: Any = (),
    rounds: int | None = None,
    budget: float = 4e6,
    progress: bool | None = None,
    **options: Any,
) -> JointTime:
    """What `icl.impute` with these arguments will take: right to a factor of two on an idle machine.

    Time grows with the gaps, the columns, `m` and the rounds; not with the rows whose cells are all there, of which
    every draw is shown some 600.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> table = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
        >>> icl.imputation_time(table.mask(table > 1), m=5).seconds > 0
        True
    """
    check_options(options)
    check_numbers(m, seed, rounds, budget)  # draws, shifts and what is kept take no time of their own
    frame = read_table(table)
    layout = Layout.of(frame, m, rounds, budget)
    turns, width = n_rounds(layout.incomplete, rounds), max(len(layout.kinds) - 1, 1)
    parts = []
    for j in layout.incomplete:
        n_gaps = int(layout.missing[:, j].sum())
        known = layout.kinds[j].numbers(frame.iloc[:, j])
        known = known[np.isfinite(known)]
        is_network = layout.models[j] == "network"
        n_shown = min(len(known), MOST_SHOWN) if is_network else len(known)
        parts.append(_seconds(is_network, layout.kinds[j], known, n_shown, width, n_gaps, m * turns, options))
    n_network = sum(model == "network" for model in layout.models.values())
    what = (
        f"{m} tables, {turns} round{'s' * (turns > 1)} of {len(parts)} column{'s' * (len(parts) != 1)} "
        f"({n_network} by the network)"
    )
    return _total(parts, m * turns * len(parts), what)


def generation_time(
    table: pd.DataFrame,
    rows: int | None = None,
    given: Sequence[Hashable] | Mapping[Hashable, Any] | pd.DataFrame | None = None,
    seed: int = 0,
    *,
    constraints: Any = (),
    orders: int | str = "auto",
    model: str = "network",
    folds: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> JointTime:
    """What `icl.generate` with these arguments will take: right to a factor of two on an idle machine.

    Time grows with the rows drawn and with the square of the columns; not with the rows of the table, of which each
    order of the columns is shown a thousand. Rows that are drawn again, because a range or a constraint does not hold,
    come on top.

    Args:
        given: as for `icl.generate`, or names of columns that are given: a column whose value is given for each row is
            not drawn.

    Examples:
        >>> import icl
        >>> from sklearn.datasets import load_iris
        >>> icl.generation_time(load_iris(as_frame=True).frame, 1_000_000).seconds > 60
        True
    """
    check_options(options)
    table, given = as_pandas(table), as_pandas(given)
    kinds = kinds_of(table)
    if rows is None:
        rows = len(given) if isinstance(given, pd.DataFrame) else len(table)
    if isinstance(rows, bool) or not isinstance(rows, Integral) or rows < 1:
        raise ValueError(f"rows must be a whole number of at least 1, got {rows!r}.")
    if isinstance(given, Mapping):  # a range or several values: drawn until one of them comes
        given = [name for name, value in given.items() if not isinstance(value, tuple | list | set)]
    named = [] if given is None else list(given)
    drawn = [name for name in table.columns if name not in named]
    n_chains, width = n_orders(orders, len(drawn)), table.shape[1]
    parts, n_fits = [], 0
    for name in drawn:
        known = kinds[name].numbers(table[name])
        known = known[np.isfinite(known)]
        # In a random order a column follows half of the others.
        n_drawn = -(-rows // (n_chains * (folds or 1)))
        sizes = (min(len(table), MOST_ROWS_SHOWN), max((width - 1) // 2, 1), n_drawn, n_chains)
        parts.append(_seconds(model == "network", kinds[name], known, *sizes, options))
        n_fits += n_chains
        if table[name].isna().any():
            gaps = Kind.of(pd.Series([False, True]))
            parts.append(_seconds(model == "network", gaps, np.array([0.0, 1.0]), *sizes, options))
            n_fits += n_chains
    what = f"{rows:,} rows of {len(drawn)} columns in {n_chains} order{'s' * (n_chains > 1)}"
    if folds is not None:  # each fold draws its share of the rows, from models of its own
        parts, n_fits, what = [(folds * a, folds * b) for a, b in parts], folds * n_fits, f"{what}, {folds} folds"
    return _total(parts, n_fits, what)


def _seconds(
    is_network: bool,
    kind: Kind,
    known: np.ndarray,
    n_shown: int,
    width: int,
    n_drawn: int,
    times: int,
    options: Mapping[str, Any],
) -> tuple[float, float]:
    """(in all, of the network) of `times` fits of one column, each with `n_drawn` rows drawn."""
    settings = {"quality": "fast", **options}
    if not kind.is_class and not len(find_atoms(known)):
        settings = {"companions": (), **settings}
    if not is_network:
        settings["companions"] = ("trees",)
    estimator = (ICLClassifier if kind.is_class else ICLRegressor)(**settings)
    n_classes = max(len(np.unique(known)), 2) if kind.is_class else 2
    told = estimator.time_estimate(max(n_shown, 1), width, max(n_drawn, 1), n_classes)
    if not is_network:
        return times * (_QUICK + _OF_TREES * told.companions), 0.0
    return times * told.seconds, times * told.network


def _total(parts: Sequence[tuple[float, float]], fits: int, what: str) -> JointTime:
    return JointTime(sum(p[0] for p in parts), sum(p[1] for p in parts), fits, what)
