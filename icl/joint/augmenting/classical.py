"""Classical ways to make rows: between a row and a neighbour (SMOTE), and between any two (mixup).

Source:
    Chawla et al. (2002), doi:10.1613/jair.953, by imbalanced-learn; Zhang et al. (2018), arXiv:1710.09412, here with
    levels, gaps and the label taken from one of the two rows, with the probability that it has in the mixture.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.kinds import Kind, part_of

_NEIGHBOURS = 5
_MIXING = 0.4  # of the Beta distribution: mostly near one of the two rows


def smote(
    table: pd.DataFrame,
    kinds: Mapping[Hashable, Kind],
    target: Hashable,
    chosen: np.ndarray,
    rows: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Rows between rows of one class among the `chosen` ones and their neighbours; gaps count as medians.

    Args:
        table: features and the target, a column of classes.
        chosen: (n,) bool.
    Raises:
        ImportError: without imbalanced-learn.
        ValueError: for a target of numbers, or a class with a single row.
    """
    try:
        from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC
    except ImportError as error:
        raise ImportError("method 'smote' needs imbalanced-learn: pip install imbalanced-learn.") from error
    if not kinds[target].is_class:
        raise ValueError(f"smote needs classes, and {target!r} holds numbers; use method='icl' or 'mixup'.")
    features = [name for name in table.columns if name != target]
    cells = np.column_stack([kinds[name].numbers(table[name]) for name in features])
    is_level = np.array([kinds[name].is_class for name in features])
    for j in range(len(features)):
        seen = cells[~np.isnan(cells[:, j]), j]
        if is_level[j]:
            values, counts = np.unique(seen, return_counts=True)
            filling = values[counts.argmax()]
        else:
            filling = np.median(seen)
        cells[np.isnan(cells[:, j]), j] = filling
    labels = kinds[target].numbers(table[target])
    parts = []
    for label, n_new in zip(*_shared(labels[chosen], rows, rng)):
        own = chosen & (labels == label)
        n_own = int(own.sum())
        if n_own < 2:
            level = kinds[target].cells(np.array([label])).iloc[0]
            raise ValueError(f"smote draws between rows, and {target!r} = {level!r} has one; use method='icl'.")
        settings: dict[str, Any] = {
            "k_neighbors": min(_NEIGHBOURS, n_own - 1),
            "random_state": int(rng.integers(2**31)),
            "sampling_strategy": {1: n_own + n_new},
        }
        if is_level.all():
            sampler = SMOTEN(**settings)
        elif is_level.any():
            sampler = SMOTENC(np.flatnonzero(is_level).tolist(), **settings)  # arrays are compared with "auto"
        else:
            sampler = SMOTE(**settings)
        # A second class is needed to balance against; what it holds does not matter to rows of the first.
        shown = np.concatenate([cells[own], cells[own], cells[own][:1]])
        mark = np.repeat([1, 0, 0], [n_own, n_own, 1])
        drawn, marks = sampler.fit_resample(shown, mark)
        new = np.asarray(drawn, dtype=float)[len(shown) :][np.asarray(marks)[len(shown) :] == 1]
        columns: dict[Any, pd.Series] = {
            name: kinds[name].cells(kinds[name].snap(new[:, j])) for j, name in enumerate(features)
        }
        columns[target] = kinds[target].cells(np.full(len(new), label))
        parts.append(pd.DataFrame(columns))
    return part_of(pd.concat(parts, ignore_index=True), table.columns)


def _shared(labels: np.ndarray, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The classes and how many rows each gets, in proportion."""
    values, counts = np.unique(labels, return_counts=True)
    shares = rng.multinomial(rows, counts / counts.sum()) if len(values) > 1 else np.array([rows])
    return values[shares > 0], shares[shares > 0]


def mixup(
    table: pd.DataFrame, kinds: Mapping[Hashable, Kind], chosen: np.ndarray, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows between two of the `chosen` ones, at random places between them."""
    places = np.flatnonzero(chosen)
    first, second = rng.choice(places, rows), rng.choice(places, rows)
    share = rng.beta(_MIXING, _MIXING, rows)
    out = {}
    for name in table.columns:
        kind = kinds[name]
        a, b = (kind.numbers(table[name])[rows_] for rows_ in (first, second))
        taken = np.where(rng.random(rows) < share, a, b)
        mixed = share * a + (1 - share) * b
        numbers = taken if kind.is_class else np.where(np.isnan(mixed), taken, kind.snap(mixed))
        out[name] = kind.cells(numbers)
    return pd.DataFrame(out)
