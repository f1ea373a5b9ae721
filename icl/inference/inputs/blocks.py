"""Unlabeled rows in blocks that lie elsewhere, as in a Ray Dataset: functions travel to them, sums come back.

An engine that runs a function on every block of rows and hands back what it returned, in the order of the blocks, is
all that is needed; Ray Data is one. What comes back is merged here, so that the numbers are those of rows that are read
in this process, whatever the workers: sums in the same order, rounded in the last digits only where blocks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from icl.inference.engine.rows import Rows, RowSource, Sums, add_up, merged
from icl.inference.inputs.batches import BATCH, SAMPLE, FrameReader, thinned

SAMPLE_OF_BLOCK = SAMPLE // 10
"""Rows that a block adds to the sample at most."""


class Engine(Protocol):
    """Runs a function on every block (an Arrow table with rows) and gives what it returned, in order."""

    def __call__(self, work: Callable[[Any], Any]) -> Iterator[Any]: ...


@dataclass
class BlockRows(RowSource):
    """Rows in blocks, as designs and predictions; one pass at the start counts, checks and samples them."""

    read: FrameReader
    run: Engine
    n_rows: int = 0
    _sample: Rows | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        read = self.read

        def look(block: Any) -> tuple[int, str, int, list, list]:
            """Rows, what is wrong with them, and every step-th of them."""
            n, step = block.num_rows, 1
            while n > step * SAMPLE_OF_BLOCK:
                step *= 2
            kept_X, kept_Y, seen = [], [], 0
            for rows in _rows_of(block, read):
                try:
                    read.check(rows, seen, "of a block ")
                except ValueError as error:
                    return n, str(error), step, [], []
                kept_X.append(rows.X[-seen % step :: step].copy())
                kept_Y.append(rows.Y[-seen % step :: step].copy())
                seen += len(rows)
            return n, "", step, kept_X, kept_Y

        X: list[np.ndarray] = []
        Y: list[np.ndarray] = []
        step = 1
        for n, wrong, own, kept_X, kept_Y in self.run(look):
            if wrong:
                raise ValueError(wrong)
            self.n_rows += n
            if own > step:
                X, Y, step = _every(X, own // step), _every(Y, own // step), own
            X.append(np.concatenate(kept_X)[:: step // own])
            Y.append(np.concatenate(kept_Y)[:: step // own])
            X, Y, step = thinned(X, Y, step)
        if not self.n_rows:
            raise ValueError("unlabeled= has no rows; leave it out for the classical answer.")
        self._sample = Rows(np.concatenate(X), np.concatenate(Y))

    def __len__(self) -> int:
        return self.n_rows

    @property
    def total_weight(self) -> float:
        return float(self.n_rows)

    def add_up(self, of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
        read = self.read  # what travels must not hold the sample
        for part in self.run(lambda block: add_up(_rows_of(block, read), of)):
            total = merged(total, part)
        assert total is not None, "there are rows"
        return total

    def sample(self, limit: int) -> Rows:
        assert self._sample is not None, "ask after the first pass"
        return self._sample.sample(limit)


def ray_engine(dataset: Any, columns: list[str]) -> Engine:
    """The workers of a Ray Dataset, each block read as often as the engine asks: the plan is executed anew."""
    import pickle

    import pyarrow as pa

    def run(work: Callable[[Any], Any]) -> Iterator[Any]:
        def made_of(block: pa.Table) -> pa.Table:
            made = [pickle.dumps(work(block))] if block.num_rows else []
            return pa.table({"made": pa.array(made, pa.large_binary())})

        made = dataset.select_columns(columns).map_batches(made_of, batch_format="pyarrow", batch_size=None)
        made.context.execution_options.preserve_order = True
        made.context.enable_progress_bars = False
        for row in made.iter_rows():
            yield pickle.loads(row["made"])  # our own, from our own workers

    return run


def _rows_of(block: Any, read: FrameReader) -> Iterator[Rows]:
    for batch in block.to_batches(max_chunksize=BATCH):
        yield from read(batch)


def _every(parts: list[np.ndarray], step: int) -> list[np.ndarray]:
    return [np.concatenate(parts)[::step]] if parts else []
