"""The LightningModule: loss, optimiser, schedule, logging."""

from __future__ import annotations

import time

import lightning as L
import torch
import torch.nn.functional as nnf
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from icl.checkpoint import load_release
from icl.distribution import HistogramPredictive, histogram_edges
from icl.grow import grow
from icl.model import TabularConfig, TabularTransformer, target_scale
from icl.optim import MuonAdamW, OptimConfig
from priors import TaskBatch


def task_loss(model: TabularTransformer, batch: TaskBatch) -> Tensor:
    """Mean negative log mass (nats per query) of the true class, or of the bin that holds the true target."""
    scores = model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes)
    if batch.n_classes is not None:
        return nnf.cross_entropy(scores.flatten(0, 1), batch.y_query.flatten())
    s = target_scale(batch.y_context)
    dist = HistogramPredictive(scores, histogram_edges(model.config.n_bins).to(scores), s.loc, s.scale)
    return nnf.cross_entropy(scores.flatten(0, 1), dist.bin_of(batch.y_query).flatten())


class PretrainingModule(L.LightningModule):
    """Trains a `TabularTransformer` on the batches of a `TaskStream`.

    Args:
        model: fields of `TabularConfig`.
        optim: optimiser and schedule.
        init_seed: seed of the initial weights.
        init_from: a release to start from instead, such as `checkpoints/nano`; it may have fewer layers (`icl.grow`).
    """

    def __init__(
        self,
        model: dict[str, int] | None = None,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - frozen
        init_seed: int = 0,
        init_from: str | None = None,
    ):
        super().__init__()
        self.optim, self.init_from = optim, init_from
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            config = TabularConfig(**(model or {}))
            self.model = TabularTransformer(config) if init_from is None else grow(load_release(init_from), config)
        # Not buffers: weight averaging would average them too.
        self.tasks_seen, self.wall_seconds = 0, 0.0
        self._tick: float | None = None

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["progress"] = {"tasks_seen": self.tasks_seen, "wall_seconds": self.wall_seconds}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """A resumed run reports its whole life."""
        progress = checkpoint["progress"]
        self.tasks_seen, self.wall_seconds = progress["tasks_seen"], progress["wall_seconds"]

    def training_step(self, batches: list[TaskBatch], batch_idx: int) -> Tensor:
        losses = []
        for batch in batches:
            loss = task_loss(self.model, batch)
            losses.append(loss)
            self._log("train", batch, loss)
        total = torch.stack(losses).mean()
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"the loss became {total.item()} at step {self.global_step}. The last checkpoint is intact: resume "
                f"from it with a smaller --model.optim.lr_muon and --model.optim.lr_adamw."
            )
        self._count(batches)
        return total

    def validation_step(self, batches: list[TaskBatch], batch_idx: int) -> None:
        for batch in batches:
            self._log("val", batch, task_loss(self.model, batch))

    def _log(self, stage: str, batch: TaskBatch, loss: Tensor) -> None:
        kind = "regression" if batch.n_classes is None else "classification"
        training = stage == "train"
        self.log(
            f"{stage}/{kind}_loss",
            loss,
            prog_bar=True,
            on_step=training,
            on_epoch=not training,
            batch_size=batch.shape.n_tasks,
            sync_dist=not training,
        )

    def _count(self, batches: list[TaskBatch]) -> None:
        n_tasks = sum(batch.shape.n_tasks for batch in batches) * self.trainer.world_size
        now = time.monotonic()
        self.tasks_seen += n_tasks
        if self._tick is not None:
            self.wall_seconds += now - self._tick
            self.log("tasks_per_s", n_tasks / (now - self._tick), on_step=True, prog_bar=True)
        self._tick = now
        self.log("tasks_seen", float(self.tasks_seen), on_step=True)
        self.log("wall_seconds", self.wall_seconds, on_step=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = MuonAdamW(self.model, self.optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.optim.rate_at(step, self.trainer.max_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
