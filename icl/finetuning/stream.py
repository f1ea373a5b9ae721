"""The stream of a fine-tuning run: tasks from tables and, beside them, tasks from the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import lightning as L
from torch.utils.data import DataLoader, Dataset

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.held_out import REPLAY_SHAPES
from icl.finetuning.tables import EncodedTable
from icl.finetuning.tasks import TablesPrior
from icl.network.config import TabularConfig
from icl.training.stream import TaskLoader, TaskStream
from icl.training.validation import ValidationItem
from priors import MixturePrior, Prior, TargetConfig


@dataclass(frozen=True)
class Alternating:
    """One prior a step, in turn: half the cost of a batch of each in every step."""

    priors: list[Prior]

    def at_step(self, step: int) -> Prior:
        return self.priors[step % len(self.priors)]


def replay_priors(model: TabularConfig) -> list[Prior]:
    """The mixture that pretraining draws from, for each kind of target, with no more classes than the model takes."""
    target = TargetConfig(max_classes=min(TargetConfig().max_classes, model.max_classes))
    return [MixturePrior(task="classification", target=target), MixturePrior(task="regression")]


def task_stream(
    tables: Sequence[EncodedTable],
    config: FinetuneConfig,
    model: TabularConfig,
    start: int = 0,
    rank: int = 0,
    companions: str | Sequence = "auto",
) -> TaskStream:
    """Steps of `batch_tables` batches of tables, then one of the prior if there is replay."""
    priors: list = [TablesPrior(tables, model, config.max_rows, config.n_cells, companions)] * config.batch_tables
    if config.replay:
        priors.append(Alternating(replay_priors(model)))
    return TaskStream(priors, REPLAY_SHAPES, config.seed, rank, start)


class FinetuneData(L.LightningDataModule):
    """The training stream and the held-out tasks, dealt to the processes."""

    trainer: L.Trainer  # of Lightning, once it is attached

    def __init__(self, tables: Sequence[EncodedTable], items: Sequence[ValidationItem], config, model: TabularConfig):
        super().__init__()
        self.tables, self.items, self.config, self.model = tables, list(items), config, model
        self.seed = config.seed

    def train_dataloader(self) -> TaskLoader:
        trainer = self.trainer
        stream = task_stream(self.tables, self.config, self.model, trainer.global_step, trainer.global_rank)
        return TaskLoader(stream, batch_size=None, num_workers=0)

    def val_dataloader(self) -> DataLoader:
        share = self.items[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(cast(Dataset, share), batch_size=None)
