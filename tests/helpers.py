"""Callbacks that tests hand to train.py by name."""

import lightning as L
import torch


class StopAt(L.Callback):
    """Stop after `step`, as an interruption between steps would, and save `last.ckpt`."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            from icl.callbacks import last_checkpoint

            trainer.should_stop = True
            trainer.save_checkpoint(last_checkpoint(trainer))


class Witness(L.Callback):
    """Write down what this rank saw and the weights it ended with."""

    def __init__(self, folder: str):
        self.folder, self.shapes, self.checksums = folder, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.shapes.append([tuple(b.X.shape) for b in batch])
        self.checksums.append(float(batch[0].X.nan_to_num().double().sum()))

    def on_train_end(self, trainer, pl_module):
        seen = {
            "shapes": self.shapes,
            "checksums": self.checksums,
            "weights": pl_module.model.state_dict(),
            "tasks_seen": pl_module.tasks_seen,
        }
        torch.save(seen, f"{self.folder}/rank{trainer.global_rank}.pt")
