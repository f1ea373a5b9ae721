"""Tasks from a folder that `python -m priors export` wrote, in place of the endless stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from priors import TaskBatch
from priors.stream import seeded_generator

if TYPE_CHECKING:
    import pyarrow as pa


class FolderSource:
    """The batches of a folder, one per (step, rank): exactly those that were sampled, to the last bit.

    The first pass reads them in the order in which they were sampled, so rank 0 of 1 sees the very stream that the
    prior would have made. Each later pass shuffles the shards, and the batches inside each. Ranks share out a pass.

    Args:
        folder: what the export wrote.
        seed: of the shuffling.
        n_ranks: processes that train together.
    Raises:
        FileNotFoundError, ValueError: if there is no finished export in the folder.
    """

    def __init__(self, folder: str, seed: int = 0, n_ranks: int = 1):
        self.folder, self.seed, self.n_ranks = Path(folder), seed, n_ranks
        if n_ranks < 1:
            raise ValueError(f"n_ranks must be at least 1, got {n_ranks}.")
        file = self.folder / "dataset.json"
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} holds no exported tasks; make some with `python -m priors export {folder}`."
            )
        self.record = json.loads(file.read_text(encoding="utf-8"))
        if not self.record["complete"]:
            raise ValueError(f"the export to {folder} was interrupted; give the same command again to finish it.")
        self.n_batches, self.n_tasks = self.record["n_batches"], self.record["n_tasks"]
        self._per_shard = self.record["settings"]["batches_per_shard"]
        self._open: dict[int, tuple[pa.Table, dict[int, tuple[int, int]]]] = {}
        self._pass: tuple[int, list[int]] = (0, list(range(self.n_batches)))

    def batches(self, step: int, rank: int = 0) -> list[TaskBatch]:
        """The batches of one step, as `sample_step` gives for one prior: a function of (seed, step, rank)."""
        if not 0 <= rank < self.n_ranks:
            raise ValueError(f"rank must lie in [0, {self.n_ranks}), got {rank}; tell FolderSource n_ranks.")
        number, place = divmod(step * self.n_ranks + rank, self.n_batches)
        return [self.batch(self._order(number)[place])]

    def batch(self, index: int) -> TaskBatch:
        """Batch `index` in the order in which they were sampled."""
        table, places = self._shard(index // self._per_shard)
        start, stop = places[index]
        part = table.slice(start, stop - start)
        n_tasks, n_rows, n_features, n_context = (
            stop - start,
            *(part[name][0].as_py() for name in ("n_rows", "n_features", "n_context")),
        )

        def tensor(name: str, *shape: int) -> torch.Tensor:
            # A copy: Arrow's memory is read-only, and a batch may be moved or changed in place.
            values = part[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return torch.from_numpy(values.copy()).view(n_tasks, *shape)

        y, n_classes = tensor("y", n_rows), None
        if part["n_classes"].null_count == 0:
            y, n_classes = y.long(), torch.tensor(part["n_classes"].to_pylist())
        flags = tensor("is_categorical", n_features)
        return TaskBatch(tensor("X", n_rows, n_features), y, n_context, flags, n_classes)

    def _order(self, number: int) -> list[int]:
        """Batches of pass `number`, in the order of reading."""
        if self._pass[0] != number:
            order = list(range(self.n_batches))
            if number:
                generator = seeded_generator(self.seed, number)
                shards = torch.randperm(len(self.record["shards"]), generator=generator).tolist()
                # Shard by shard, so that a pass opens each file once.
                parts = [order[k * self._per_shard : (k + 1) * self._per_shard] for k in shards]
                order = [p[j] for p in parts for j in torch.randperm(len(p), generator=generator).tolist()]
            self._pass = (number, order)
        return self._pass[1]

    def _shard(self, k: int) -> tuple[pa.Table, dict[int, tuple[int, int]]]:
        """Shard `k` and the rows [start, stop) of each of its batches; the last two stay open."""
        if k not in self._open:
            import pyarrow.parquet as pq

            table = pq.read_table(self.folder / self.record["shards"][k]["file"])
            places: dict[int, tuple[int, int]] = {}
            for row, index in enumerate(table["batch"].to_pylist()):
                places[index] = (places.get(index, (row, row))[0], row + 1)
            while len(self._open) > 1:
                self._open.pop(next(iter(self._open)))
            self._open[k] = (table, places)
        return self._open[k]

    def __getstate__(self) -> dict:
        """A worker process opens its own files."""
        return self.__dict__ | {"_open": {}}
