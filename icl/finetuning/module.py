"""The LightningModule of fine-tuning: pretraining's, with replay, a pull to the start, and the best weights kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from icl.finetuning.config import FinetuneConfig
from icl.finetuning.held_out import HELD_OUT, PRIOR, score
from icl.finetuning.method import Anchor, make_optimizer, make_trainable, merged_state
from icl.finetuning.rate import step_loss
from icl.network.config import own_fields
from icl.network.model import TabularTransformer
from icl.training.optim import OptimConfig
from icl.training.pretraining import PretrainingModule, task_loss
from icl.training.totals import add, averages, gathered
from icl.training.validation import ValidationItem
from priors import TaskBatch


@dataclass
class Best:
    """The weights with the lowest held-out loss so far; the checkpoint's own are the first candidate."""

    loss: float = math.inf
    step: int = -1
    state: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """A line for each check: step, held-out loss of every table, loss on tasks of the prior."""

    @property
    def n_checks_since(self) -> int:
        return sum(line["step"] > self.step for line in self.history)


class FinetuneModule(PretrainingModule):
    """Trains a copy of `start`.

    Args:
        start: the checkpoint's model; left as it is.
        config: of the run.
        optim: rates and schedule, as `icl.finetuning.method.rates` gives them.
        check_every: steps between validations; others (when training is interrupted) do not count.
        ancestor: facts of the checkpoint.
    """

    def __init__(
        self,
        start: TabularTransformer,
        config: FinetuneConfig,
        optim: OptimConfig,
        check_every: int,
        ancestor: dict | None = None,
    ):
        # Compiling takes longer than most of these runs.
        super().__init__(own_fields(start.config), optim, compile=False)
        self.model.load_state_dict(start.state_dict())
        self.finetuning, self.check_every, self.ancestor = config, check_every, ancestor
        make_trainable(self.model, config)
        self.anchor = Anchor(self.model, config.l2_sp)
        self.best = Best()

    @property
    def stopped_early(self) -> bool:
        return self.best.n_checks_since >= self.finetuning.patience

    def setup(self, stage: str) -> None:
        super().setup(stage)
        # The search for the rate may end a hair's breadth differently on another device of the same run.
        self.optim = self.trainer.strategy.broadcast(self.optim)

    def _announce(self) -> None:
        """The plan has said it (`icl.finetuning.prepare`)."""

    def training_step(self, batches: list[TaskBatch], batch_idx: int) -> Tensor:
        loss = step_loss(self.model, batches, self.finetuning)
        self.log("loss", loss.detach(), prog_bar=True, on_step=True)
        self.count(batches)
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        lr = self.optim.lr_adamw * self.optim.rate_at(self.trainer.global_step, self.trainer.max_steps)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.anchor.pull(self.model, lr)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return self.scheduled(make_optimizer(self.model, self.finetuning, self.optim))

    def validation_step(self, item: ValidationItem, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # as the model will be used
            add(self.totals, item.name, float(task_loss(self.model, item.batch)), 1.0)

    def on_validation_epoch_end(self) -> None:
        totals, self.totals = gathered(self.totals, self.trainer.world_size), {}
        by_name = averages(totals)
        step = self.trainer.global_step
        seen = {line["step"] for line in self.best.history}
        if step % self.check_every or step in seen:
            return  # an interruption validates wherever it is; it must not change what is kept
        loss = score(by_name)
        tables = {name.removeprefix(HELD_OUT): x for name, x in by_name.items() if name.startswith(HELD_OUT)}
        self.best.history.append({"step": step, "loss": loss, "prior": by_name.get(PRIOR, math.nan), "tables": tables})
        if loss < self.best.loss:
            self.best.loss, self.best.step = loss, step
            self.best.state = {k: v.cpu() for k, v in merged_state(self.model).items()}
        self.log("held_out_loss", loss, prog_bar=True, sync_dist=True)
        if self.stopped_early:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["best"] = vars(self.best)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        self.best = Best(**checkpoint["best"])
        if self.stopped_early:  # killed when patience had ended it and before the release was written
            self.trainer.should_stop = True
