"""The endless stream of synthetic tasks: a batch is a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator

import lightning as L
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from icl.folder import FolderSource
from priors import MixturePrior, Prior, ShapeSampler, TaskBatch
from priors.stream import at_step, one_thread, seeded_generator

_SHAPES, _TASKS = 0, 1


def sample_step(
    priors: list[Prior],
    shapes: ShapeSampler,
    seed: int,
    step: int,
    rank: int = 0,
    device: torch.device | str = "cpu",
) -> list[TaskBatch]:
    """The batches of one optimiser step, one from each prior, made on `device`.

    Ranks share the shapes of a step, so that none waits for another, but never its tasks. A prior or a sampler with a
    method `at_step` (a curriculum) is asked for its form at this step.
    """
    shape_generator = seeded_generator(seed, step, _SHAPES)
    shapes = at_step(shapes, step)
    step_shapes = [shapes.sample(shape_generator) for _ in priors]
    # The last bit of a sum depends on the number of threads, and worker processes have fewer.
    with one_thread():
        return [
            at_step(prior, step).sample(shape, seeded_generator(seed, step, _TASKS, rank, k, device=device))
            for k, (prior, shape) in enumerate(zip(priors, step_shapes, strict=True))
        ]


class TaskStream(IterableDataset):
    """Steps `start`, `start + 1`, ... of the stream, dealt to any number of workers without changing it."""

    def __init__(
        self,
        priors: list[Prior],
        shapes: ShapeSampler,
        seed: int,
        rank: int = 0,
        start: int = 0,
        n_steps: int | None = None,
        device: torch.device | str = "cpu",
    ):
        self.priors, self.shapes, self.seed, self.rank = priors, shapes, seed, rank
        self.start, self.n_steps, self.device = start, n_steps, device

    def __iter__(self) -> Iterator[list[TaskBatch]]:
        worker = get_worker_info()
        step, stride = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while self.n_steps is None or step < self.start + self.n_steps:
            yield self.at(step)
            step += stride

    def at(self, step: int) -> list[TaskBatch]:
        """The batches of one step."""
        return sample_step(self.priors, self.shapes, self.seed, step, self.rank, self.device)


class FolderStream(TaskStream):
    """The same for exported tasks: each step takes one batch from every folder."""

    def __init__(self, folders: list[str], seed: int, rank: int = 0, n_ranks: int = 1, start: int = 0):
        super().__init__([], ShapeSampler(), seed, rank, start)
        self.sources = [FolderSource(folder, seed, n_ranks) for folder in folders]

    def at(self, step: int) -> list[TaskBatch]:
        return [batch for source in self.sources for batch in source.batches(step, self.rank)]


class TaskLoader(DataLoader):
    """A loader that a trainer may resume: the stream itself starts at the trainer's step, so no state is kept."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        pass


class TaskDataModule(L.LightningDataModule):
    """Training stream and a fixed validation set.

    Args:
        priors: one batch from each makes an optimiser step; list a prior twice to weigh it twice.
        shapes: sampler of task shapes.
        folders: train on these exports (`python -m priors export`), one batch from each a step, instead of `priors`.
        seed: of the training stream; validation uses its own.
        n_validation_steps: validation steps (times `len(priors)` batches), the same at every check.
        num_workers: processes that sample; 0 samples in the trainer's own. Changes nothing but speed.
    """

    def __init__(
        self,
        priors: list[Prior] | None = None,
        shapes: ShapeSampler = ShapeSampler(),  # noqa: B008 - frozen
        folders: list[str] | None = None,
        seed: int = 0,
        n_validation_steps: int = 32,
        num_workers: int = 0,
    ):
        super().__init__()
        self.priors = priors or [MixturePrior(task="classification"), MixturePrior(task="regression")]
        self.shapes, self.folders, self.seed = shapes, folders, seed
        self.n_validation_steps, self.num_workers = n_validation_steps, num_workers
        if n_validation_steps < 1:
            raise ValueError(f"n_validation_steps must be at least 1, got {n_validation_steps}.")

    def train_dataloader(self) -> TaskLoader:
        trainer = self.trainer
        if self.folders:
            stream = FolderStream(
                self.folders, self.seed, trainer.global_rank, trainer.world_size, start=trainer.global_step
            )
        else:
            # On the training device, unless worker processes sample: they have no right to an accelerator.
            device = "cpu" if self.num_workers else trainer.strategy.root_device
            stream = TaskStream(
                self.priors, self.shapes, self.seed, trainer.global_rank, trainer.global_step, device=device
            )
        return TaskLoader(stream, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        # A seed no training run uses by accident; every rank validates on its own share.
        stream = TaskStream(
            self.priors,
            self.shapes,
            seed=self.seed + 2**31,
            rank=self.trainer.global_rank,
            n_steps=self.n_validation_steps,
        )
        return DataLoader(stream, batch_size=None)
