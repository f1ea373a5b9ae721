"""The endless stream of synthetic tasks: a batch is a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from icl.training.exported_tasks import FolderSource
from icl.training.steps import sample_block, sample_step, with_companions
from icl.training.validation import ValidationItem, held_out_tasks, real_tables
from priors import CompanionColumns, MixturePrior, Prior, ShapeSampler, TaskBatch
from priors.contract import check_prior


class TaskStream(IterableDataset):
    """Steps `start`, `start + 1`, ... of the stream, dealt to any number of workers without changing it.

    Args:
        priors, shapes, seed, device, companions: as for `sample_step`.
        rank: whose tasks to yield; several ranks give each step the tasks of all of them, one after the other.
        start: first step.
        n_steps: steps to yield; None means no end.
        together: batches of one draw; more than one makes another stream (`sample_block`).
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
        companions: CompanionColumns | None = None,
        together: int = 1,
    ):
        self.priors, self.shapes, self.seed, self.companions = priors, shapes, seed, companions
        self.together = together
        # What was drawn last, of each rank; not a state: any step can be asked for at any time.
        self._blocks: dict[tuple[int, int], list[list[TaskBatch]]] = {}
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
        if self.together == 1:
            return sample_step(self.priors, self.shapes, self.seed, step, rank, self.device, self.companions)
        number, place = divmod(step, self.together**2)
        if (number, rank) not in self._blocks:
            self._blocks = {key: steps for key, steps in self._blocks.items() if key[0] == number}
            self._blocks[number, rank] = sample_block(
                self.priors, self.shapes, self.seed, number, rank, self.device, self.together
            )
        return with_companions(self._blocks[number, rank][place], self.companions, self.seed, step, rank)


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
        companions: show answers of classical models as columns, as prediction does, in a share of the batches; none
            where not given.
        draws_together: batches that one draw of a prior makes, dealt to as many steps squared. 1 draws each by itself;
            8 suit a GPU that samples its own tasks, where a draw costs much the same for few tasks and for many.
        num_workers: processes that sample, on the CPU; 0 samples in the trainer's own, on its device. The tasks are the
            same for any number of workers, but those of a GPU differ from those of a CPU.
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
        companions: CompanionColumns | None = None,
        draws_together: int = 1,
    ):
        super().__init__()
        self.priors = priors or [MixturePrior(task="classification"), MixturePrior(task="regression")]
        self.shapes, self.folders, self.seed = shapes, folders, seed
        self.n_virtual_ranks, self.num_workers = n_virtual_ranks, num_workers
        self.n_validation_steps, self.n_family_batches = n_validation_steps, n_family_batches
        self.validate_on_real_tables, self.companions = validate_on_real_tables, companions
        self.draws_together = draws_together
        self._validation: list[ValidationItem] | None = None
        if draws_together < 1 or (draws_together > 1 and num_workers > 1):
            raise ValueError(
                f"draws_together must be at least 1, and 1 with several workers, each of which would make every draw; "
                f"got {draws_together} with num_workers {num_workers}."
            )
        if n_validation_steps < 1:
            raise ValueError(f"n_validation_steps must be at least 1, got {n_validation_steps}.")
        if n_family_batches < 0:
            raise ValueError(f"n_family_batches must not be negative, got {n_family_batches}.")

    def setup(self, stage: str) -> None:
        """Refuses priors that cannot be trained on, before the first step (`priors.contract`)."""
        for prior in {} if self.folders else {id(prior): prior for prior in self.priors}.values():
            check_prior(prior, self.shapes)

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
    def most_features(self) -> int:
        """Columns of the widest task that may come, companions included; 0 where exports decide."""
        if self.folders:
            return 0
        return max(self.shapes.features[1], 0 if self.companions is None else self.companions.max_features)

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
            stream = TaskStream(
                self.priors,
                self.shapes,
                self.seed,
                self.ranks,
                trainer.global_step,
                device=device,
                companions=self.companions,
                together=self.draws_together,
            )
        return TaskLoader(stream, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        """This process's part of the validation set, which is made once and on the CPU: figures of a laptop and of a
        GPU, of one process and of eight, are about the same tasks."""
        if self._validation is None:
            # A seed no training run uses by accident.
            made = held_out_tasks(
                self.priors,
                self.shapes,
                self.seed + 2**31,
                self.n_validation_steps,
                self.n_family_batches,
                self.companions,
            )
            real = real_tables() if self.validate_on_real_tables else ()
            share = slice(self.trainer.global_rank, None, self.trainer.world_size)
            items = [*made, *real]
            # A process without an item would not take part in adding up the others'.
            self._validation = items[share] or [replace(items[0], name="")]
        return DataLoader(cast(Dataset, self._validation), batch_size=None)
