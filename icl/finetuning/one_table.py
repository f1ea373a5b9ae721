"""Fine-tuning on one table inside `fit`, kept only where rows that it never saw say that it helps."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.held_out import row_losses
from icl.finetuning.method import RATES, merged_state
from icl.finetuning.rate import short_run
from icl.finetuning.stream import task_stream
from icl.finetuning.tables import MIN_ROWS_PER_CLASS, EncodedTable, Target
from icl.finetuning.tasks import N_GUISES, batch_of, draw_rows, make_task
from icl.network.model import TabularTransformer
from icl.tables.repeats import Units, copies
from priors import TaskBatch

MIN_ROWS = 300
"""Labelled rows below which nothing is tried: a fifth of them decides, and 60 rows see only large gains."""
# Standard errors by which the loss on the deciding rows must fall: one-sided 95 %.
_CLEAR = 1.645
_SHARES = (0.6, 0.2, 0.2)
_UNNAMED = pd.DataFrame()  # nobody asks which rows these were: no release comes of them
_MOST_ROWS = 1_000
"""Rows that choose, and that decide, at most: a forward pass of more would cost much and tell little."""


class FinetuneRefusedWarning(UserWarning):
    """Fine-tuning on the labelled rows was asked for, and not done: there are too few of them."""


@dataclass(frozen=True)
class SingleReport:
    """What became of fine-tuning on one table; losses in nats per row, on rows that neither trained nor chose."""

    kept: bool
    """Whether the fine-tuned weights are used; else those of the checkpoint."""
    reason: str
    n_rows: int
    """That decided; 0 if nothing was tried."""
    loss_before: float = math.nan
    loss_after: float = math.nan
    std_error: float = math.nan
    """Of the difference, over the deciding rows."""
    lr: float = math.nan


def default_config() -> FinetuneConfig:
    """Without replay: the weights serve this table only, so nothing is lost that matters."""
    return FinetuneConfig(steps=60, replay=0.0)


def tune_on_table(
    start: TabularTransformer,
    cells: np.ndarray,
    n_levels: np.ndarray,
    y: np.ndarray,
    n_classes: int | None,
    config: FinetuneConfig,
    companions: str | Sequence = "auto",
) -> tuple[TabularTransformer | None, SingleReport]:
    """Fine-tune a copy of `start` on 60 % of the rows; 20 % choose the rate, 20 % decide whether to keep it.

    Args:
        start: the checkpoint's model; left as it is.
        cells: (n, F) float32 rows as `TableEncoder` gives them.
        n_levels: (F,) levels of each category, 0 for numbers.
        y: (n,) int64 codes or float64 numbers.
        n_classes: None for numbers.
        companions: whose columns tasks show, as the estimator that asks will; "auto" goes by their length.
    Returns:
        the tuned model, or None where the checkpoint's weights stay, and what was found. Tuned weights are kept only if
        the mean loss on the deciding rows fell by more than 1.645 standard errors of the paired difference.
    """
    # Copies of a row stay together, for one that trained would be no witness, and witness once.
    units = Units(copies(cells, y), len(y))
    target, of_units = Target("y", y, n_classes), Target("y", y[units.first], n_classes)
    if reason := _obstacle(of_units, start.config.max_classes):
        warnings.warn(
            f"finetune= is not done: {reason}. The checkpoint's own weights are used; set finetune=False to say so.",
            FinetuneRefusedWarning,
            stacklevel=5,
        )
        return None, SingleReport(False, reason, 0)
    table = EncodedTable("labelled rows", range(cells.shape[1]), cells, n_levels, [target], _UNNAMED)
    rng = np.random.default_rng([config.seed, len(y)])
    order = draw_rows(of_units, len(units), rng)
    parts = np.split(order, np.cumsum([round(share * len(units)) for share in _SHARES[:2]]))
    train, (choose, decide) = units.rows(parts[0]), (units.first[part] for part in parts[1:])
    part = EncodedTable(table.name, table.columns, cells[train], n_levels, [replace(target, y=y[train])], _UNNAMED)
    context = train[: config.max_rows]
    chooses, decides = (
        _views(table, target, context, rows[:_MOST_ROWS], start, rng, companions) for rows in (choose, decide)
    )
    stream = task_stream([part], config, start.config, companions=companions)
    best_lr, best_loss, best = math.nan, _mean_loss(start, chooses), None
    for lr in (config.lr,) if config.lr is not None else RATES:
        tuned = _plain(short_run(copy.deepcopy(start), stream, config, lr, config.steps), start)
        loss = _mean_loss(tuned, chooses)
        if loss < best_loss:
            best_lr, best_loss, best = lr, loss, tuned
    if best is None:
        return None, SingleReport(False, "no rate improved the rows that choose", len(decide))
    before, after = _by_row(start, decides), _by_row(best, decides)
    gain = before - after
    error = float(gain.std(ddof=1) / math.sqrt(len(gain)))
    kept = bool(gain.mean() > _CLEAR * error)
    reason = "clearly better on held-out rows" if kept else "not better on held-out rows beyond error"
    report = SingleReport(kept, reason, len(gain), float(before.mean()), float(after.mean()), error, best_lr)
    return (best if kept else None), report


def _obstacle(target: Target, max_classes: int) -> str:
    n = len(target.y)
    if n < MIN_ROWS:
        return f"{n} labelled rows are too few to tell whether it helps; {MIN_ROWS} are needed"
    if (target.n_classes or 0) > max_classes:
        return f"y has {target.n_classes} classes, and the checkpoint takes {max_classes} at a time"
    if target.n_classes is not None and (least := int(np.bincount(target.y).min())) < MIN_ROWS_PER_CLASS:
        return f"a class has {least} rows; {MIN_ROWS_PER_CLASS} are needed, or merge it with another"
    return ""


def _views(table, target, context, query, start: TabularTransformer, rng, companions) -> list[TaskBatch]:
    """The same rows in every guise of an estimator."""
    config = start.config
    return [
        batch_of([make_task(table, target, context, query, config, rng, guise, companions)], len(context))
        for guise in range(N_GUISES)
    ]


@torch.no_grad()
def _by_row(model: TabularTransformer, views: list[TaskBatch]) -> np.ndarray:
    """(n,) loss of each query row, averaged over guises."""
    device = next(model.parameters()).device
    return np.mean([row_losses(model, view.to(device))[0].double().cpu().numpy() for view in views], axis=0)


def _mean_loss(model: TabularTransformer, views: list[TaskBatch]) -> float:
    return float(_by_row(model, views).mean())


def _plain(tuned: TabularTransformer, start: TabularTransformer) -> TabularTransformer:
    """The tuned weights in a model without parametrizations, ready to predict."""
    model = copy.deepcopy(start)
    model.load_state_dict(merged_state(tuned))
    return model.eval().requires_grad_(False)
