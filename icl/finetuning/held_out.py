"""What a fine-tuning run is judged by: tables (or rows) that it never trains on, and held-out tasks of the prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.tables import EncodedTable, Target, select
from icl.finetuning.tasks import N_GUISES, batch_of, draw_rows, make_task
from icl.network.config import TabularConfig
from icl.network.metrics import query_losses
from icl.network.model import TabularTransformer
from icl.training.pretraining import task_loss
from icl.training.validation import ValidationItem, held_out_tasks
from priors import Prior, ShapeSampler, TaskBatch

HELD_OUT, PRIOR = "held_out/", "prior"
_MOST_QUERIES = 300
_MOST_TARGETS = 8
# Of held-out tables together. Measured on census groups (three train, one is held out, 200 steps at 1e-3): six draws of
# four tasks put the best step at 20 to 200 and lost 0.0038 nats by it on average, as twenty other tables judged; all
# six together lost 0.0003 of the 0.0147 that could be gained.
_FEWEST_TASKS = 20
_PRIOR_STEPS = 8
_SEED_OFFSET = 2**31  # a seed that no training stream uses by accident
REPLAY_SHAPES = ShapeSampler(n_cells=4_000, rows=(32, 724), features=(2, 45), mean_features=9.0)
"""Of the prior's tasks in replay and validation: those of configs/nano.yaml."""


@dataclass(frozen=True)
class Split:
    """Which rows of which tables train and which validate.

    Attributes:
        training: tables that tasks are drawn from.
        context, query: for each table that validates, the rows that may be context and those that are asked about.
        by_rows: whether rows of the training tables are held out, for want of tables.
    """

    training: list[EncodedTable]
    validating: list[EncodedTable]
    context: list[np.ndarray]
    query: list[np.ndarray]
    by_rows: bool

    @cached_property
    def names(self) -> list[str]:
        return [t.name for t in self.validating]


def split_tables(tables: Sequence[EncodedTable], config: FinetuneConfig) -> Split:
    """Hold out whole tables if there are three or more (or `held_out` names some), else rows of each.

    Raises:
        ValueError: if `held_out` leaves no table to train on.
    """
    rng = np.random.default_rng([config.seed, _SEED_OFFSET])
    if config.held_out or len(tables) >= 3:
        if config.held_out:
            chosen = select(tables, config.held_out)
        else:
            n = min(max(1, round(config.validation_share * len(tables))), len(tables) - 1)
            chosen = [tables[k] for k in sorted(rng.permutation(len(tables))[:n])]
        names = {t.name for t in chosen}
        training = [t for t in tables if t.name not in names]
        if not training:
            raise ValueError(f"held_out names all {len(tables)} tables; leave some to train on.")
        rows = [np.arange(len(t)) for t in chosen]
        return Split(training, chosen, rows, rows, by_rows=False)
    training, context, query = [], [], []
    for table in tables:
        order = draw_rows(table.targets[0], len(table), rng)  # one of each class first: these stay in training
        n_query = max(round(config.validation_share * len(table)), 4)
        context.append(np.sort(order[: len(order) - n_query]))
        query.append(np.sort(order[len(order) - n_query :]))
        training.append(table.take(context[-1]))
    return Split(training, list(tables), context, query, by_rows=True)


def validation_items(split: Split, model: TabularConfig, config: FinetuneConfig) -> list[ValidationItem]:
    """Fixed tasks from every held-out table, in each guise once, or more often where there are few tables."""
    items = []
    n_once = N_GUISES * sum(min(len(t.targets), _MOST_TARGETS) for t in split.validating)
    # Of rows that are held out the same ones would be asked again.
    n_draws = 1 if split.by_rows else math.ceil(_FEWEST_TASKS / n_once)
    for k, table in enumerate(split.validating):
        rng = np.random.default_rng([config.seed, _SEED_OFFSET, k])
        targets = [table.targets[j] for j in rng.permutation(len(table.targets))[:_MOST_TARGETS]]
        for target in targets:
            for guise in [*range(N_GUISES)] * n_draws:
                context, query = _rows(split, k, target, config.max_rows, rng)
                task = make_task(table, target, context, query, model, rng, guise)
                items.append(ValidationItem(f"{HELD_OUT}{table.name}", batch_of([task], len(context))))
    return items


def _rows(split: Split, k: int, target: Target, max_rows: int, rng) -> tuple[np.ndarray, np.ndarray]:
    known = split.context[k]
    part = replace(target, y=target.y[known])
    if split.by_rows:
        context = known[draw_rows(part, min(len(known), max_rows), rng)]
        return context, rng.permutation(split.query[k])[:_MOST_QUERIES]
    rows = known[draw_rows(part, min(len(known), max_rows), rng)]
    n_context = max(round(0.6 * len(rows)), 2 * (target.n_classes or 2))
    return rows[:n_context], rows[n_context:][:_MOST_QUERIES]


def prior_items(priors: list[Prior], seed: int) -> list[ValidationItem]:
    """Held-out tasks of the prior: what forgetting would show on."""
    made = held_out_tasks(priors, REPLAY_SHAPES, seed + _SEED_OFFSET, _PRIOR_STEPS, 0)
    return [replace(item, name=PRIOR) for item in made]


def row_losses(model: TabularTransformer, batch: TaskBatch) -> Tensor:
    """(B, M) loss of each query row, nats: the terms of `icl.training.pretraining.task_loss`."""
    scores = model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes).float()
    return query_losses(scores, batch.y_context, batch.y_query, batch.n_classes)


@torch.no_grad()
def losses(model: TabularTransformer, items: Sequence[ValidationItem]) -> dict[str, float]:
    """Mean loss in nats per query, by name of the item."""
    found: dict[str, list[float]] = {}
    for item in items:
        found.setdefault(item.name, []).append(float(task_loss(model, item.batch)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def score(by_name: dict[str, float]) -> float:
    """What the best weights are chosen by: the mean loss over held-out tables, each counting once."""
    return float(np.mean([value for name, value in by_name.items() if name.startswith(HELD_OUT)]))
