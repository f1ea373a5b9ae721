"""`icl.augment`: labelled rows, and more of a kind that is rare among them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.augmenting.classical import mixup, smote
from icl.joint.column import check_options
from icl.joint.kinds import Kind
from icl.joint.synthetic.chain import kinds_of
from icl.joint.synthetic.constraints import Constraint
from icl.joint.synthetic.generate import draw_table
from icl.joint.synthetic.given import Given, read_given
from icl.tables.encoder import as_pandas

METHODS = ("icl", "smote", "mixup")


def augment(
    X: pd.DataFrame,
    y: Any,
    where: Any = None,
    rows: int | None = None,
    method: str = "icl",
    seed: int = 0,
    **options: Any,
) -> tuple[pd.DataFrame, pd.Series]:
    """Labelled rows with further ones of a rare kind: the given rows first, then the new ones.

    Ask `icl.compare_augmentation` whether they help your model; most often they do not. A model that learnt from them
    has seen other class shares than there are: `icl.joint.augmenting.augment.recalibrated` puts its probabilities
    right. New rows are for learning only: they are no data, and no interval may count them.

    Args:
        X, y: features and labels, classes or numbers.
        where: the kind of rows to add: an expression over columns and `y`, such as "y == 1" or "y == 'sick' and age >
            60"; None is the rarest class.
        rows: to add; None as many as make the rarest class as frequent as the most frequent one.
        method: "icl" (`icl.generate` on that condition), "smote" (imbalanced-learn; between neighbours of one class) or
            "mixup" (between any two such rows).
        seed: the same seed gives the same rows.
        **options: of "icl", as for `icl.generate`: `orders`, `model`, `checkpoint`, ...
    Raises:
        ValueError: for a condition that no row satisfies, and what the method cannot do.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> X, y = pd.DataFrame({"x": np.arange(40.0)}), np.arange(40) >= 35
        >>> more, labels = icl.augment(X, y, method="mixup")
        >>> len(more), int(labels.sum()), bool(more["x"][40:].between(35, 39).all())
        (70, 35, True)
    """
    table, target = labelled_table(X, y)
    kinds = kinds_of(table)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    if options and method != "icl":
        raise ValueError(f"{method} takes no {', '.join(options)}.")
    check_options({name: value for name, value in options.items() if name not in ("orders", "model")})
    if where is None:
        if not kinds[target].is_class:
            raise ValueError("where is missing: of numbers there is no rarest class; say which rows, as in 'y > 100'.")
        where = Rarest(table[target])
        rows = where.n_lacking if rows is None else rows
    if rows is None:
        raise ValueError("rows is missing: say how many rows to add.")
    if isinstance(rows, bool) or not isinstance(rows, Integral) or rows < 0:
        raise ValueError(f"rows must be a whole number of at least 0, got {rows!r}.")
    condition = where.expression(target) if isinstance(where, Rarest) else where
    constraint = Constraint(_named(condition, target), list(table.columns), is_strict=True)
    chosen = constraint.holds(table)
    if not chosen.any():
        raise ValueError(f"where={condition!r} is satisfied by none of the {len(table)} rows.")
    rng = np.random.default_rng(seed)
    if rows == 0:
        new = table.iloc[:0]
    elif method == "smote":
        new = smote(table, kinds, target, chosen, int(rows), rng)
    elif method == "mixup":
        new = mixup(table, kinds, chosen, int(rows), rng)
    else:
        new = _by_network(table, kinds, target, chosen, constraint, int(rows), seed, options)
    whole = pd.concat([table, new], ignore_index=True).astype({n: table[n].dtype for n in table if len(new) == 0})
    return whole.drop(columns=target), whole[target]


class Rarest:
    """The rarest class of a target, and how many rows it lacks to the most frequent one."""

    def __init__(self, y: pd.Series):
        counts = y.value_counts(sort=False)
        counts = counts[counts > 0]
        self.label, self.n_lacking = counts.idxmin(), int(counts.max() - counts.min())

    def expression(self, target: Hashable) -> str:
        return f"`{target}` == {getattr(self.label, 'item', lambda: self.label)()!r}"


def labelled_table(X: pd.DataFrame, y: Any) -> tuple[pd.DataFrame, Hashable]:
    """Features and labels as one table, and the name of the labels: their own, or "y"."""
    X, y = as_pandas(X), as_pandas(y)
    if not isinstance(X, pd.DataFrame):
        raise ValueError(f"X must be a DataFrame or a table of polars or Arrow, got {type(X).__name__}.")
    if X.columns.nlevels > 1:
        raise ValueError(
            f"X names its columns in {X.columns.nlevels} levels; give each one name: "
            "X.set_axis(X.columns.to_flat_index(), axis=1)."
        )
    labels = y if isinstance(y, pd.Series) else pd.Series(np.asarray(y))
    if len(labels) != len(X):
        raise ValueError(f"X has {len(X)} rows and y {len(labels)} labels; pass one label for each row.")
    if labels.isna().any():
        raise ValueError(f"y lacks {int(labels.isna().sum())} labels; leave these rows out.")
    name = "y" if labels.name is None else labels.name
    if str(name) in map(str, X.columns):
        raise ValueError(f"the labels are called {name!r}, as a column of X is; rename one of them.")
    return X.reset_index(drop=True).assign(**{str(name): labels.reset_index(drop=True)}), str(name)


def recalibrated(probabilities: np.ndarray, learnt: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(n, C) probabilities of a model that learnt from other class shares than there are, put right by Bayes' rule.

    Args:
        learnt, real: (C,) counts or shares of the classes among the rows that it learnt from, and in truth.
    Source:
        Elkan (2001), The foundations of cost-sensitive learning, theorem 2.
    """
    odds = (np.asarray(real) / np.sum(real)) / (np.asarray(learnt) / np.sum(learnt))
    raised = np.asarray(probabilities) * odds
    return raised / raised.sum(axis=1, keepdims=True)


def _named(where: Any, target: Hashable) -> Any:
    """An expression in which `y` is the target, whatever it is called."""
    import re

    if not isinstance(where, str) or target == "y":
        return where
    return re.sub(r"(?<![\w`'\".])y(?![\w`'\"])", f"`{target}`", where)


def _by_network(
    table: pd.DataFrame,
    kinds: Mapping[Hashable, Kind],
    target: Hashable,
    chosen: np.ndarray,
    constraint: Constraint,
    rows: int,
    seed: int,
    options: dict[str, Any],
) -> pd.DataFrame:
    """Rows of the joint model given the condition; where it is one class, that class comes first in every order."""
    settings = {"orders": "auto", "model": "network", **options}
    orders, model = settings.pop("orders"), settings.pop("model")
    labels = table[target][chosen].unique()
    whole_class = len(labels) == 1 and kinds[target].is_class and bool(chosen[table[target] == labels[0]].all())
    if whole_class:
        asked, kept = read_given({target: labels[0]}, table, kinds, rows), []
    else:
        asked, kept = Given(pd.DataFrame(index=pd.RangeIndex(rows))), [constraint]
    return draw_table(table, kinds, asked, kept, seed, orders, model, settings)
