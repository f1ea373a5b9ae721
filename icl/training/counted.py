"""What pretraining and distillation share: tasks and seconds counted, gradients guarded, validation averaged."""

from __future__ import annotations

import time
from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from icl.training.callbacks import last_checkpoint
from icl.training.optim import MuonAdamW, OptimConfig
from icl.training.totals import Totals, averages, gathered
from icl.training.validation import KINDS, kind_of
from priors import TaskBatch

_GENTLER = "a smaller --model.optim.lr_muon and --model.optim.lr_adamw"


def advice(trainer: L.Trainer) -> str:
    """How to go on after a loss or a weight that is no number."""
    path = last_checkpoint(trainer)
    if path is None or not path.exists():
        return f"There is no checkpoint yet: start again with {_GENTLER}."
    return f"The last checkpoint is whole: resume with --ckpt_path last and {_GENTLER}."


class CountedModule(L.LightningModule):
    """A module that knows how many tasks and seconds its whole life took, over all resumed runs.

    Args:
        optim: optimiser and schedule.
    """

    bar_metrics: frozenset[str] = frozenset()
    """Validation metrics that the progress bar shows."""

    def __init__(self, optim: OptimConfig):
        super().__init__()
        self.optim = optim
        # Not buffers: weight averaging would average them too.
        self.tasks_seen, self.wall_seconds = 0, 0.0
        self._tick: float | None = None
        self.totals: Totals = {}

    @property
    def trained(self) -> nn.Module:
        """What the optimiser moves."""
        raise NotImplementedError

    def log_by_kind(self, name: str, values: Sequence[Tensor], batches: Sequence[TaskBatch]) -> None:
        """The mean over the batches of classes, and over those of numbers."""
        for kind in KINDS:
            own = [value.detach() for value, batch in zip(values, batches, strict=True) if kind_of(batch) == kind]
            if own:
                self.log(f"train/{kind}_{name}", torch.stack(own).mean(), prog_bar=True, on_step=True)

    def count(self, batches: Sequence[TaskBatch]) -> None:
        """A step on these batches, and as many in every other process, is done."""
        now = time.monotonic()
        self.tasks_seen += sum(batch.shape.n_tasks for batch in batches) * self.trainer.world_size
        if self._tick is not None:
            self.wall_seconds += now - self._tick
        self._tick = now
        self.log("tasks_seen", float(self.tasks_seen), on_step=True)
        self.log("wall_seconds", self.wall_seconds, on_step=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before anything that is not finite reaches a weight.

        Gradients are summed over processes by now, so all of them see it and leave after the same step.
        """
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        self.log("grad_norm", norm, on_step=True)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"the gradient became {norm.item()} at step {self.global_step}, for the loss did in one of the "
                f"processes or its slope was too steep. No weight was changed. {advice(self.trainer)}"
            )

    def on_validation_epoch_end(self) -> None:
        totals, self.totals = gathered(self.totals, self.trainer.world_size), {}
        for name, mean in averages(totals).items():
            # Equal on all processes by now; `sync_dist` only tells Lightning so.
            self.log(name, mean, prog_bar=name in self.bar_metrics, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return self.scheduled(MuonAdamW(self.trained, self.optim))

    def scheduled(self, optimizer: torch.optim.Optimizer) -> OptimizerLRSchedulerConfig:
        """The optimiser, its rates following `optim` step by step."""
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.optim.rate_at(step, self.trainer.max_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["progress"] = {"tasks_seen": self.tasks_seen, "wall_seconds": self.wall_seconds}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """A resumed run reports its whole life."""
        progress = checkpoint["progress"]
        self.tasks_seen, self.wall_seconds = progress["tasks_seen"], progress["wall_seconds"]
