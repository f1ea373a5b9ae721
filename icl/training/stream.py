"""The endless stream of synthetic tasks: a batch is a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from icl.training.exported_tasks import FolderSource
from icl.training.validation import ValidationItem, held_out_tasks, real_tables
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
    """Steps `start`, `start + 1`, ... of the stream, dealt to any number of workers without changing it.

    Args:
        priors, shapes, seed, device: as for `sample_step`.
        rank: whose tasks to yield; several ranks give each step the tasks of all of them, one after the other.
        start: first step.
        n_steps: steps to yield; None means no end.
    """

    def __init__(
        self,
        priors: list[Prior],
        shapes: ShapeSampler,
        seed: int,
        rank: int | range = 0,
        start: int = 0,
        n_steps: int | None = None,
        device: torch.device | str = "cpu",
    ):
        self.priors, self.shapes, self.seed = priors, shapes, seed
        self.ranks = range(rank, rank + 1) if isinstance(rank, int) else rank
        self.start, self.n_steps, self.device = start, n_steps, device

    def __iter__(self) -> Iterator[list[TaskBatch]]:
        worker = get_worker_info()
        step, stride = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while self.n_steps is None or step < self.start + self.n_steps:
            yield self.at(step)
            step += stride

    def at(self, step: int) -> list[TaskBatch]:
        """The batches of one step."""
        return [batch for rank in self.ranks for batch in self.of_rank(step, rank)]

    def of_rank(self, step: int, rank: int) -> list[TaskBatch]:
        return sample_step(self.priors, self.shapes, self.seed, step, rank, self.device)


class FolderStream(TaskStream):
    """The same for exported tasks: each step takes one batch from every folder."""

    def __init__(self, folders: list[str], seed: int, rank: int | range = 0, n_ranks: int = 1, start: int = 0):
        super().__init__([], ShapeSampler(), seed, rank, start)
        self.sources = [FolderSource(folder, seed, n_ranks) for folder in folders]

    def of_rank(self, step: int, rank: int) -> list[TaskBatch]:
        return [batch for source in self.sources for batch in source.batches(step, rank)]


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
        n_virtual_ranks: shares of a step. Each process takes an equal part of them, so that 1, 2 or 8 devices take the
            same steps on the same tasks; default: one for each process.
        n_validation_steps: validation batches from each of `priors`, the same at every check.
        n_family_batches: validation batches from each family of the mixtures, for each kind of target; 0 for none.
        validate_on_real_tables: score the small real tables that scikit-learn carries as well.
        num_workers: processes that sample; 0 samples in the trainer's own. Changes nothing but speed.
    """

    trainer: L.Trainer  # of Lightning, once it is attached

    def __init__(
        self,
        priors: list[Prior] | None = None,
        shapes: ShapeSampler = ShapeSampler(),  # noqa: B008 - frozen
        folders: list[str] | None = None,
        seed: int = 0,
        n_virtual_ranks: int | None = None,
        n_validation_steps: int = 32,
        n_family_batches: int = 4,
        validate_on_real_tables: bool = True,
        num_workers: int = 0,
    ):
        super().__init__()
        self.priors = priors or [MixturePrior(task="classification"), MixturePrior(task="regression")]
        self.shapes, self.folders, self.seed = shapes, folders, seed
        self.n_virtual_ranks, self.num_workers = n_virtual_ranks, num_workers
        self.n_validation_steps, self.n_family_batches = n_validation_steps, n_family_batches
        self.validate_on_real_tables = validate_on_real_tables
        self._validation: list[ValidationItem] | None = None
        if n_validation_steps < 1:
            raise ValueError(f"n_validation_steps must be at least 1, got {n_validation_steps}.")
        if n_family_batches < 0:
            raise ValueError(f"n_family_batches must not be negative, got {n_family_batches}.")

    @property
    def ranks(self) -> range:
        """The shares of a step that this process takes.

        Raises:
            ValueError: if the shares cannot be dealt evenly.
        """
        n_processes = self.trainer.world_size
        n_ranks = self.n_virtual_ranks or n_processes
        if n_ranks % n_processes:
            raise ValueError(
                f"n_virtual_ranks must be a multiple of the number of processes, got {n_ranks} and {n_processes}: "
                f"each process takes an equal part of every step."
            )
        each = n_ranks // n_processes
        return range(self.trainer.global_rank * each, (self.trainer.global_rank + 1) * each)

    @property
    def n_batches(self) -> int:
        """Batches of a step in this process."""
        return len(self.ranks) * len(self.folders or self.priors)

    def train_dataloader(self) -> TaskLoader:
        trainer = self.trainer
        if self.folders:
            n_ranks = len(self.ranks) * trainer.world_size
            stream: IterableDataset = FolderStream(self.folders, self.seed, self.ranks, n_ranks, trainer.global_step)
        else:
            # On the training device, unless worker processes sample: they have no right to an accelerator.
            device = "cpu" if self.num_workers else trainer.strategy.root_device
            stream = TaskStream(self.priors, self.shapes, self.seed, self.ranks, trainer.global_step, device=device)
        return TaskLoader(stream, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        """This process's part of the validation set, which is made once and on the CPU: figures of a laptop and of a
        GPU, of one process and of eight, are about the same tasks."""
        if self._validation is None:
            # A seed no training run uses by accident.
            made = held_out_tasks(
                self.priors, self.shapes, self.seed + 2**31, self.n_validation_steps, self.n_family_batches
            )
            real = real_tables() if self.validate_on_real_tables else ()
            share = slice(self.trainer.global_rank, None, self.trainer.world_size)
            self._validation = [*made, *real][share]
        return DataLoader(cast(Dataset, self._validation), batch_size=None)
