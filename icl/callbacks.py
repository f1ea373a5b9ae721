"""Training callbacks: finish the step on ctrl-C, write a release folder at the end."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class FinishStepOnInterrupt(L.Callback):
    """On ctrl-C or SIGTERM: finish the step, save `last.ckpt`, then stop. A second ctrl-C stops at once.

    Saving between steps is what lets the resumed run continue as if nothing had happened.
    """

    def __init__(self):
        self._asked = False
        self._previous: dict[int, object] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, signum, frame) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        # A signal may reach one process before another; all must leave after the same step.
        if not trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            return
        trainer.should_stop = True
        path = last_checkpoint(trainer)
        if path is not None:
            trainer.save_checkpoint(path)
            rank_zero_info(f"Interrupted after step {trainer.global_step}; resume with --ckpt_path last ({path}).")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}


def last_checkpoint(trainer: L.Trainer) -> Path | None:
    """Where `--ckpt_path last` looks."""
    callback = trainer.checkpoint_callback
    if callback is None or callback.dirpath is None:
        return None
    return Path(callback.dirpath) / "last.ckpt"


class WriteRelease(L.Callback):
    """Write the weights as a release folder when the last step is done.

    Args:
        folder: where to write; the default is `release` beside the run's checkpoints.
    """

    def __init__(self, folder: str | None = None):
        self.folder = folder
        self._commit: str | None = None

    @rank_zero_only
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from icl.checkpoint import git_commit

        self._commit = git_commit()  # of the code that runs, not of what the tree holds hours later

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        from icl.checkpoint import save_release

        log_dir = trainer.log_dir  # a collective call: every rank must make it
        if not trainer.is_global_zero:
            return
        if trainer.max_steps > 0 and trainer.global_step < trainer.max_steps:
            return  # interrupted: the weights are in last.ckpt
        folder = Path(self.folder or Path(trainer.default_root_dir) / "release")
        provenance = {
            "git_commit": self._commit,
            "seed": trainer.datamodule.seed,
            "init_from": pl_module.init_from,
            "steps": trainer.global_step,
            "tasks_seen": pl_module.tasks_seen,
            "wall_seconds": round(pl_module.wall_seconds),
            "device": str(pl_module.device.type),
            "n_devices": trainer.world_size,
            "data": "synthetic tasks only",
        }
        save_release(pl_module.model, folder, provenance)
        config = Path(log_dir or ".") / "config.yaml"
        if config.is_file():  # as LightningCLI resolved it
            shutil.copyfile(config, folder / "training.yaml")
        rank_zero_info(f"Release written to {folder}")
