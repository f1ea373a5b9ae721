"""Callbacks that tests hand to train.py by name."""

import signal

import lightning as L
import torch


class Witness(L.Callback):
    """Write down what this rank saw, its losses and the weights it ended with."""

    def __init__(self, folder: str):
        self.folder, self.shapes, self.checksums, self.losses = folder, [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.shapes.append([tuple(b.X.shape) for b in batch])
        self.checksums.append(float(batch[0].X.nan_to_num().double().sum()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer, pl_module):
        seen = {
            "shapes": self.shapes,
            "checksums": self.checksums,
            "losses": self.losses,
            "weights": pl_module.model.state_dict(),
            "tasks_seen": pl_module.tasks_seen,
        }
        torch.save(seen, f"{self.folder}/rank{trainer.global_rank}.pt")


class PoisonAt(L.Callback):
    """At optimiser step `step`, the regression targets of process `rank` are not numbers."""

    def __init__(self, step: int, rank: int = 0):
        self.step, self.rank = step, rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            for task_batch in batch:
                if task_batch.n_classes is None:
                    task_batch.y.fill_(torch.nan)


class InterruptAt(L.Callback):
    """ctrl-C in the middle of step `step`."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            signal.raise_signal(signal.SIGINT)


class KilledAt(L.Callback):
    """SIGKILL for process `rank` as step `step` begins."""

    def __init__(self, step: int, rank: int = 0):
        self.step, self.rank = step, rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            signal.raise_signal(signal.SIGKILL)
