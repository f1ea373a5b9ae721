"""Rows as the engine reads them: in memory, in chunks, together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np

from icl.inference.estimands.equations import repeats_one_row

CHUNK = 16_384
"""Rows in a chunk of ten columns or more, which stays in the cache of a core; fewer columns make longer chunks."""


@dataclass(frozen=True)
class Rows:
    """Design X (R, p), responses Y (R, K), weights (R,) or None for equal ones."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.X)

    @property
    def total_weight(self) -> float:
        return float(len(self.X)) if self.weights is None else float(self.weights.sum())

    def chunks(self) -> Iterator[Rows]:
        """These rows in slices (views)."""
        n_columns = self.Y.shape[1] + (0 if repeats_one_row(self.X) else self.X.shape[1])
        size = CHUNK * max(1, 10 // max(n_columns, 1))
        if len(self.X) <= size:
            yield self
            return
        for start in range(0, len(self.X), size):
            part = slice(start, start + size)
            yield Rows(self.X[part], self.Y[part], None if self.weights is None else self.weights[part])

    def sample(self, limit: int) -> Rows:
        """Every k-th row, at most `limit` of them: files are often sorted, so neither the first rows nor blocks."""
        k = -(-len(self.X) // limit)
        if k <= 1:
            return self
        return Rows(self.X[::k], self.Y[::k], None if self.weights is None else self.weights[::k])


class RowSource(Protocol):
    """What the engine needs of unlabeled rows: their number, their weight, and chunks as often as it asks."""

    def __len__(self) -> int: ...
    @property
    def total_weight(self) -> float: ...
    def chunks(self) -> Iterator[Rows]: ...
    def sample(self, limit: int) -> Rows: ...


@dataclass(frozen=True)
class Together:
    """Several sets of rows as one."""

    parts: Sequence[RowSource]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def total_weight(self) -> float:
        return sum(part.total_weight for part in self.parts)

    def chunks(self) -> Iterator[Rows]:
        return chain.from_iterable(part.chunks() for part in self.parts)

    def sample(self, limit: int) -> Rows:
        return max(self.parts, key=len).sample(limit)
