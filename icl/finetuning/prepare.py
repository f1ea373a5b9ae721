"""What a run will do and cost, before it does: tables checked, rows held out, memory and time."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.held_out import REPLAY_SHAPES, Split, losses, prior_items, split_tables, validation_items
from icl.finetuning.method import RATES, make_trainable
from icl.finetuning.rate import SHARE, short_run
from icl.finetuning.sources import read_tables
from icl.finetuning.stream import replay_priors, task_stream
from icl.finetuning.tables import EncodedTable, encode_tables
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release
from icl.releases.names import resolve_checkpoint
from icl.training.cost import training_cost
from icl.training.validation import ValidationItem
from priors import TaskShape

_TIMED_STEPS = 3


@dataclass(frozen=True)
class Plan:
    """What a run would do, in numbers."""

    tables: dict[str, tuple[int, int, str]]
    """Of each table: rows, columns, and what becomes of it."""
    n_moving: int
    """Parameters that move."""
    n_parameters: int
    steps: int
    activation_bytes: float
    """Of the dearest step."""
    weight_bytes: float
    """Weights, gradients, moments, the start and the best."""
    seconds_per_step: float
    """Measured on a few steps, making their tasks included."""
    seconds: float
    """Of the whole run at most: the search for the rate, all steps, all validations."""

    def __str__(self) -> str:
        lines = [f"{name}: {n:,} rows, {p} columns, {use}" for name, (n, p, use) in self.tables.items()]
        lines += [
            f"{self.n_moving:,} of {self.n_parameters:,} parameters move",
            f"memory: {self.activation_bytes / 1e6:,.0f} MB of activations at most, {self.weight_bytes / 1e6:,.0f} MB "
            f"of weights, gradients and copies",
            f"time: at most {_duration(self.seconds)} ({self.steps:,} steps of {self.seconds_per_step:.2g} s, measured "
            f"on {_TIMED_STEPS} steps; search for the rate and validation included)",
        ]
        return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


@dataclass(frozen=True)
class Prepared:
    """Everything that a run needs, checked."""

    folder: Path
    config: FinetuneConfig
    tables: list[EncodedTable]
    split: Split

    @cached_property
    def start(self) -> TabularTransformer:
        """The checkpoint's model; copy it before training on it."""
        return load_release(self.folder)

    @cached_property
    def held_out(self) -> list[ValidationItem]:
        return validation_items(self.split, self.start.config, self.config)

    @cached_property
    def items(self) -> list[ValidationItem]:
        """All that a validation scores."""
        return self.held_out + prior_items(replay_priors(self.start.config), self.config.seed)

    @property
    def check_every(self) -> int:
        return min(self.config.check_every, self.config.steps)

    @property
    def steps(self) -> int:
        """A whole number of checks, so that the last weights are validated too."""
        return -(-self.config.steps // self.check_every) * self.check_every

    def fresh(self) -> TabularTransformer:
        return copy.deepcopy(self.start)


def prepare(checkpoint: Any, tables: Any, config: FinetuneConfig) -> Prepared:
    """Read and check everything.

    Raises:
        ValueError, OSError: naming the file and the column.
    """
    folder = resolve_checkpoint(checkpoint)
    encoded = encode_tables(read_tables(tables, config), config, load_release(folder).config.max_classes)
    prepared = Prepared(folder, config, encoded, split_tables(encoded, config))
    make_trainable(prepared.fresh(), config)  # the method must suit the model
    return prepared


def dry_run(checkpoint: Any, tables: Any, config: FinetuneConfig = FinetuneConfig()) -> Plan:  # noqa: B008 - frozen
    """Check everything and say what `icl.finetune` would do; a few steps are run to time them, nothing is kept.

    Arguments as for `icl.finetune`.
    """
    return plan_of(prepare(checkpoint, tables, config))


plan = dry_run  # the name of icl 0.1; `icl.inference.plan` is another thing


def plan_of(prepared: Prepared) -> Plan:
    config, split = prepared.config, prepared.split
    model = prepared.fresh()
    stream = task_stream(split.training, config, model.config)
    with torch.random.fork_rng(devices=[]):
        short_run(model, stream, config, RATES[0], 1)
        model = prepared.fresh()
        start = time.perf_counter()
        short_run(model, stream, config, RATES[0], _TIMED_STEPS)
        per_step = (time.perf_counter() - start) / _TIMED_STEPS
    start = time.perf_counter()
    losses(prepared.start, prepared.items)
    per_check = time.perf_counter() - start
    seconds = prepared.steps * per_step + (1 + prepared.steps // prepared.check_every) * per_check
    if config.lr is None:
        seconds += len(RATES) * (config.steps // SHARE * per_step + per_check) + per_check
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    n_parameters = sum(p.numel() for p in prepared.start.parameters())
    uses = {t.name: "trains" for t in split.training}
    for table, query in zip(split.validating, split.query, strict=True):
        uses[table.name] = f"trains; {len(query):,} rows are held out" if split.by_rows else "held out"
    return Plan(
        {t.name: (len(t), len(t.columns), uses[t.name]) for t in prepared.tables},
        moving,
        n_parameters,
        prepared.steps,
        _activation_bytes(prepared),
        4.0 * (3 * n_parameters + 4 * moving),
        per_step,
        seconds,
    )


def _activation_bytes(prepared: Prepared) -> float:
    """Of the batches of one step, which are alive together, each as large as can occur."""
    config, model = prepared.config, prepared.start.config
    largest = 0.0
    for table in prepared.split.training:
        width = min(len(table.columns), model.max_features)
        n_rows = min(config.max_rows, len(table))
        n_tasks = max(1, config.n_cells // (n_rows * width))
        shape = TaskShape(n_tasks, n_rows, max(2, round(0.9 * n_rows)), width)
        largest = max(largest, training_cost(model, shape, regression=True).activation_bytes)
    replay = 0.0
    if config.replay:
        rows, width = REPLAY_SHAPES.rows[1], 8
        shape = TaskShape(max(1, REPLAY_SHAPES.n_cells // (rows * width)), rows, rows // 2, width)
        replay = training_cost(model, shape, regression=True).activation_bytes
    return config.batch_tables * largest + replay
