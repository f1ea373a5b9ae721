"""Training callbacks: progress in steps, finish the step on ctrl-C, write a release folder at the end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar, WeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from icl.network.model import TabularTransformer
from icl.training.earlier import keep_longer


class StepProgressBar(RichProgressBar):
    """Optimiser steps out of `max_steps`, with the time to go: the stream has no epochs to show."""

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.max_steps if self.trainer.max_steps > 0 else float("inf")

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{'Training':{len(self.validation_description)}}"  # padded: bars of unequal labels flicker

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._update(self.train_progress_bar_id, trainer.global_step)  # a resumed run starts where it left

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)


class MovingAverage(EMAWeightAveraging):
    """Lightning's moving average of the weights, kept where they are.

    Lightning's is set up before the weights move to their device and stays on the CPU, to which all of them would be
    copied after every step. Checkpoints are those of Lightning's.
    """

    @property
    def state_key(self) -> str:
        return EMAWeightAveraging.__qualname__

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if self._average_model is not None and self._device is None:
            self._average_model.to(pl_module.device)


class FinishStepOnInterrupt(L.Callback):
    """On ctrl-C or SIGTERM: finish the step, save `last.ckpt`, then stop. A second ctrl-C stops at once.

    Saving between steps is what lets the resumed run continue as if nothing had happened. The last step is saved too,
    so that a finished run can be extended.

    Args:
        check_every: steps between validations that are part of what is saved, as in fine-tuning: a step after which
            one is due is left to `ModelCheckpoint`, which saves when it is over. Saved before it, a run that is killed
            while it validates would go on without it.
    """

    def __init__(self, check_every: int | None = None):
        self.check_every = check_every
        self._asked = False
        self._previous: dict[int, Any] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, signum, frame) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        # A signal may reach one process before another; all must leave after the same step.
        asked = trainer.strategy.reduce_boolean_decision(self._asked, all=False)
        done = trainer.global_step == trainer.max_steps
        if not (asked or done):
            return
        trainer.should_stop = True
        path = None if trainer.fast_dev_run else last_checkpoint(trainer)
        if path is None or (self.check_every and trainer.global_step % self.check_every == 0):
            return
        trainer.save_checkpoint(path)
        if not done:
            rank_zero_info(f"Interrupted after step {trainer.global_step}; resume with --ckpt_path last ({path}).")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}


def last_checkpoint(trainer: L.Trainer) -> Path | None:
    """Where `--ckpt_path last` looks."""
    callback = trainer.checkpoint_callback
    if not isinstance(callback, ModelCheckpoint) or callback.dirpath is None:
        return None
    return Path(callback.dirpath) / "last.ckpt"


class WriteRelease(L.Callback):
    """Write the weights as a release folder when the last step is done.

    What an earlier, longer run left there, and its `last.ckpt`, is kept under another name (`icl.training.earlier`).
    The facts of the run go into every training checkpoint too: `python train.py export` releases from there.

    Args:
        folder: where to write; the default is `release` beside the run's checkpoints.
    """

    def __init__(self, folder: str | None = None):
        self.folder = folder
        self._run: dict = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from icl.releases.provenance import git_commit

        log_dir = trainer.log_dir  # a collective call: every rank must make it
        if not trainer.is_global_zero:
            return
        if trainer.ckpt_path is None and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it
            for path in (last_checkpoint(trainer), self._folder(trainer)):
                keep_longer(path, trainer.max_steps)
        config = Path(log_dir or ".") / "config.yaml"
        self._run = {
            "git_commit": git_commit(),  # of the code that runs, not of what the tree holds hours later
            "seed": trainer.datamodule.seed,  # type: ignore[attr-defined]  # Lightning sets it
            "device": str(pl_module.device.type),
            "n_devices": trainer.world_size,
            "precision": str(trainer.precision),
            "training_yaml": config.read_text(encoding="utf-8") if config.is_file() else None,  # as it was resolved
        }

    def _folder(self, trainer: L.Trainer) -> Path:
        return Path(self.folder or Path(trainer.default_root_dir) / "release")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        from icl.training.export import RUN

        checkpoint[RUN] = self._run

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from icl.releases.folder import save_release
        from icl.training.export import RUN, provenance, training_file

        if not trainer.is_global_zero:
            return
        if trainer.max_steps > 0 and trainer.global_step < trainer.max_steps:
            return  # interrupted: the weights are in last.ckpt
        folder = self._folder(trainer)
        record: dict = {RUN: self._run, "global_step": trainer.global_step}
        pl_module.on_save_checkpoint(record)
        if any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]  # Lightning sets it
            record["averaging_state"] = {}
        text = self._run["training_yaml"]
        assert isinstance(pl_module.model, TabularTransformer)
        save_release(pl_module.model, folder, provenance(record), files=training_file(text))
        rank_zero_info(f"Release written to {folder}")
