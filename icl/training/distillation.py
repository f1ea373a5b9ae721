"""Distillation of a reader: it learns, on synthetic tasks, the answers of the whole network (`icl.network.reader`)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from icl.network.model import ContextCache
from icl.network.reader import Reader, ReaderConfig
from icl.releases.folder import load_release
from icl.releases.names import resolve_checkpoint
from icl.releases.provenance import git_commit, origin_of, shareable
from icl.releases.reader_file import save_reader
from icl.training.counted import CountedModule
from icl.training.gradients import mean_loss
from icl.training.optim import OptimConfig
from icl.training.pretraining import task_loss
from icl.training.totals import add
from icl.training.validation import ValidationItem, fits, kind_of, real_metrics
from priors import TaskBatch


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence, nats per query, of the student's distribution from the teacher's.

    Both are scores (B, M, K); -inf marks the same slots in both.
    """
    log_t, log_s = teacher.log_softmax(-1), student.log_softmax(-1)
    possible = log_t > -torch.inf
    gap = torch.where(possible, log_t, 0.0) - torch.where(possible, log_s, 0.0)
    return (log_t.exp() * gap).sum(-1).mean()


class DistillationModule(CountedModule):
    """Trains the reader of a release; the network it answers for stays as it is.

    Args:
        release: whose reader; its folder receives `reader.safetensors` when the last step is done.
        reader: what the reader leaves out.
        optim: optimiser and schedule.
        label_share: weight of the loss on the tasks' own labels; the rest is divergence from the network.
        init_from: a file with weights of a reader of this shape to start from, as `torch.save(reader.own_state())`
            writes it; default: copies of the network's blocks.
    """

    def __init__(
        self,
        release: str = "checkpoints/base",
        reader: ReaderConfig = ReaderConfig(),  # noqa: B008 - frozen
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - frozen
        label_share: float = 0.5,
        init_from: str | None = None,
    ):
        super().__init__(optim)
        if not 0 <= label_share <= 1:
            raise ValueError(f"label_share is a fraction in [0, 1], got {label_share}.")
        self.release, self.label_share, self.init_from = release, label_share, init_from
        # A copy: what `load_release` gives is shared. Training mode changes nothing in it; lightning warns of others.
        trunk = copy.deepcopy(load_release(release)).requires_grad_(False).train()
        self.reader = Reader(trunk, reader)
        if init_from is not None:
            state = torch.load(init_from, map_location="cpu", weights_only=True)
            self.reader.load_state_dict({**self.reader.state_dict(), **state})

    @property
    def trained(self) -> Reader:
        return self.reader

    def _both(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """Scores of the network and of the reader, from one reading of the context."""
        n_context = batch.y_context.shape[1]
        X_BNF, X_BMF = batch.X[:, :n_context], batch.X[:, n_context:]
        keys: list[Tensor] = []
        context = self.reader.read_context(X_BNF, batch.y_context, batch.is_categorical, batch.n_classes, keys)
        teacher = self.reader.trunk.answer(X_BMF, ContextCache(context.columns, keys, batch.n_classes))
        return teacher, self.reader.answer(X_BMF, context)

    def training_step(self, batches: list[TaskBatch], batch_idx: int) -> Tensor:
        gaps: list[Tensor] = []

        def loss_of(batch: TaskBatch) -> Tensor:
            teacher, student = self._both(batch)
            gap = divergence(teacher, student)
            gaps.append(gap.detach())
            return torch.lerp(gap, task_loss(self.reader, batch, lambda *_: student), self.label_share)

        mean, _ = mean_loss(loss_of, batches, list(self.reader.parameters()))
        self.log_by_kind("divergence", gaps, batches)
        self.count(batches)
        return mean

    def validation_step(self, item: ValidationItem, batch_idx: int) -> None:
        batch = item.batch
        if not item.name:
            return
        with torch.autocast(self.device.type, enabled=False):  # as the reader will be used
            if item.is_real:
                if fits(self.reader.trunk, batch):
                    for metric, value in real_metrics(self.reader, batch).items():
                        add(self.totals, f"{item.name}/{metric}", value, 1.0)
                return
            teacher, student = self._both(batch)
            kind, weight = kind_of(batch), batch.shape.n_tasks
            for name, score in {
                "divergence": divergence(teacher, student),
                "loss": task_loss(self.reader, batch, lambda *_: student),
                "loss_of_the_network": task_loss(self.reader, batch, lambda *_: teacher),
            }.items():
                add(self.totals, f"{item.name}/{kind}_{name}", float(score), weight)

    def on_fit_end(self) -> None:
        trainer = self.trainer
        if not trainer.is_global_zero or trainer.global_step < trainer.max_steps:
            return  # interrupted: the weights are in last.ckpt
        path = save_reader(self.reader, self.release, self.provenance())
        rank_zero_info(f"Reader written to {path}")

    def on_fit_start(self) -> None:
        self._commit = git_commit()  # of the code that runs, not of what the tree holds hours later

    def provenance(self) -> dict[str, Any]:
        """The facts of the run, as the file records them."""
        return {
            "git_commit": self._commit,
            "release": {"name": resolve_checkpoint(self.release).name, **(origin_of(self.release) or {})},
            "seed": self.trainer.datamodule.seed,  # type: ignore[attr-defined]  # Lightning sets it
            "steps": self.trainer.global_step,
            "tasks_seen": self.tasks_seen,
            "wall_seconds": round(self.wall_seconds),
            "n_devices": self.trainer.world_size,
            "device": self.device.type,
            "label_share": self.label_share,
            "init_from": self.init_from and shareable(self.init_from),
            "data": "synthetic tasks only, labelled by the network",
        }
