"""Real tables as a prior: tasks are random row subsets, in the guises that estimators show to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from icl.finetuning.tables import MIN_ROWS_PER_CLASS, EncodedTable, Target
from icl.network.config import TabularConfig
from icl.prediction.companions.columns import Columns, most_columns, suited
from icl.prediction.companions.protocol import Labelled
from icl.prediction.guise import Limits, draw_guises
from icl.prediction.member import Member
from icl.tables.scaling import units
from priors import TaskBatch, TaskShape

N_GUISES = 4
"""Guises that a table is trained and validated in: those of an estimator's members by default."""
_FEWEST_ROWS = 32
_CONTEXT_SHARE = (0.4, 0.9)
_MOST_TASKS = 32  # of a batch


@dataclass(frozen=True)
class Task:
    """One task as arrays: cells (R, F), targets (R,), flags (F,), how many classes (None for a number)."""

    X: np.ndarray
    y: np.ndarray
    is_categorical: np.ndarray
    n_classes: int | None


def make_task(
    table: EncodedTable,
    target: Target,
    context: np.ndarray,
    query: np.ndarray,
    config: TabularConfig,
    rng: np.random.Generator,
    guise: int,
    companions: str | Sequence = "auto",
) -> Task:
    """The rows `context` and `query` as a member of an estimator would show them to the model.

    What is learnt of a column (which levels there are and how frequent, its scale) is learnt from the context, as when
    predicting.

    Args:
        context, query: row numbers; every class of `target` must occur among the context rows.
        guise: which member's, below `N_GUISES`.
        companions: whose columns are shown; "auto" are those that estimators show of a context of this length.
    """
    n_context = len(context)
    rows = np.concatenate([context, query])
    kept = np.array([j for j, name in enumerate(table.columns) if name != target.name], dtype=np.int64)
    cells = table.cells[np.ix_(rows, kept)]
    levels = table.n_levels_F[kept]
    n_levels = np.zeros(len(kept), dtype=np.int64)
    for j, n in enumerate(levels):
        if n:
            cells[:, j], n_levels[j] = _by_frequency(cells[:, j], n_context, int(n))
        elif np.isnan(cells[:n_context, j]).all():
            cells[:, j] = 0.0  # an estimator would drop it; here the width is that of the batch
    y = target.y[rows]
    if target.n_classes is None:
        unit, center, scale = units(y[:n_context])
        y = (y / unit - center) / scale
    limits = Limits(config.max_features, config.max_classes, n_context)
    seed, known, labels = int(rng.integers(2**31)), cells[:n_context], y[:n_context]
    beside = suited(n_context, target.n_classes) if isinstance(companions, str) else companions
    n_made = most_columns(beside, target.n_classes)
    shape = n_levels, known, labels, target.n_classes, n_made
    chosen = draw_guises(N_GUISES, seed, limits, *shape, with_components=True)[guise]
    made = Columns(Labelled(known, n_levels, labels, target.n_classes), beside) if chosen.stacked else None
    member = Member(chosen, known, labels, n_levels > 0, made)
    [shown] = member.contexts
    X = np.concatenate([shown.X_NF, *member.views(cells[n_context:])])
    if target.n_classes is None:
        y_query = y[n_context:] if member._target is None else member._target(y[n_context:])
        y = np.concatenate([shown.y_N, y_query]).astype(np.float32)
    else:
        y = np.concatenate([shown.y_N, chosen.answers[0][y[n_context:]]]).astype(np.int64)
    return Task(X.astype(np.float32), y, shown.is_categorical_F, target.n_classes)


def _by_frequency(codes: np.ndarray, n_context: int, n_levels: int) -> tuple[np.ndarray, int]:
    """Codes from the most frequent level in the context on, NaN for levels it lacks; and how many it has."""
    seen = codes[:n_context]
    counts = np.bincount(seen[~np.isnan(seen)].astype(np.int64), minlength=n_levels)
    if not counts.any():
        return np.zeros_like(codes), 1
    order = np.argsort(-counts, kind="stable")
    new = np.full(n_levels, np.nan, dtype=codes.dtype)
    n_present = int((counts > 0).sum())
    new[order[:n_present]] = np.arange(n_present)
    known = ~np.isnan(codes)
    out = np.full_like(codes, np.nan)
    out[known] = new[codes[known].astype(np.int64)]
    return out, n_present


def draw_rows(target: Target, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """(n_rows,) rows at random, without repetition; one of each class, or two different numbers, come first."""
    y = target.y
    order = rng.permutation(len(y))
    if target.n_classes is not None:
        _, first = np.unique(y[order], return_index=True)
    else:
        drawn: np.ndarray = y[order]
        first = np.array([0, int(np.argmax(drawn != drawn[0]))])
    return np.concatenate([order[first], np.delete(order, first)])[:n_rows]


class TablesPrior:
    """Tasks from tables, behind the interface of `priors.Prior`: a table at random, then row subsets of it.

    The tables decide rows and width; the shape that is asked for does not count.

    Args:
        tables: each at least `MIN_ROWS` long.
        config: of the model, for its limits.
        max_rows: context and query rows of a task at most.
        n_cells: cells of a batch, as many tasks as fit; at least one.
        companions: see `make_task`.
    """

    def __init__(
        self,
        tables: Sequence[EncodedTable],
        config: TabularConfig,
        max_rows: int,
        n_cells: int,
        companions: str | Sequence = "auto",
    ):
        self.tables, self.config, self.max_rows, self.n_cells = list(tables), config, max_rows, n_cells
        self.companions = companions

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        rng = np.random.default_rng(seed)
        table = self.tables[rng.integers(len(self.tables))]
        target = table.targets[rng.integers(len(table.targets))]
        low = max(_FEWEST_ROWS, 2 * MIN_ROWS_PER_CLASS * (target.n_classes or 0))
        high = min(self.max_rows, len(table))
        n_rows = round(float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high)))))
        n_context = round(n_rows * rng.uniform(*_CONTEXT_SHARE))
        n_context = min(max(n_context, 2 * (target.n_classes or 2)), n_rows - 1)
        n_tasks = max(1, self.n_cells // (n_rows * len(table.columns)))
        guise, tasks = int(rng.integers(N_GUISES)), []
        for _ in range(min(n_tasks, _MOST_TASKS)):
            rows = draw_rows(target, n_rows, rng)
            parts = rows[:n_context], rows[n_context:]
            tasks.append(make_task(table, target, *parts, self.config, rng, guise, self.companions))
        # Companions that explain nothing add no column, nor does a component of columns that agree here: a batch keeps
        # the tasks as wide as its first.
        tasks = [t for t in tasks if t.X.shape == tasks[0].X.shape]
        return batch_of(tasks, n_context).to(generator.device)


def batch_of(tasks: Sequence[Task], n_context: int) -> TaskBatch:
    """Tasks of one shape as a batch."""
    n_classes = tasks[0].n_classes
    return TaskBatch(
        torch.from_numpy(np.stack([t.X for t in tasks])),
        torch.from_numpy(np.stack([t.y for t in tasks])),
        n_context,
        torch.from_numpy(np.stack([t.is_categorical for t in tasks])),
        None if n_classes is None else torch.full((len(tasks),), n_classes),
    )
