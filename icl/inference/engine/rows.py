"""Rows as the engine reads them: in memory, in chunks, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from icl.inference.estimands.equations import repeats_one_row

CHUNK = 16_384
"""Rows in a chunk of ten columns or more, which stays in the cache of a core; fewer columns make longer chunks."""

Sums = tuple[Any, ...]
"""What can be added up over rows in any grouping: arrays, numbers, lists (which are joined)."""


@dataclass(frozen=True)
class Rows:
    """Design X (R, p), responses Y (R, K), weights (R,) or None for equal ones."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    """(R,) names of clusters, of rows that come in batches; elsewhere `Sampling` has their codes."""

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
            others = (None if v is None else v[part] for v in (self.weights, self.groups))
            yield Rows(self.X[part], self.Y[part], *others)

    def add_up(self, of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
        return add_up(self.chunks(), of, total)

    def sample(self, limit: int) -> Rows:
        """Every k-th row, at most `limit` of them: files are often sorted, so neither the first rows nor blocks."""
        k = -(-len(self.X) // limit)
        if k <= 1:
            return self
        return Rows(self.X[::k], self.Y[::k], None if self.weights is None else self.weights[::k])


class RowSource(Protocol):
    """What the engine needs of unlabeled rows: their number, their weight, and sums over them as often as it asks."""

    def __len__(self) -> int: ...
    @property
    def total_weight(self) -> float: ...
    def add_up(self, of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
        """`total` and what `of` makes of every part of the rows, added up.

        `of` may be sent to where the rows are, so it holds what it needs and little more; the parts come in order.
        """
        ...

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

    def add_up(self, of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
        for part in self.parts:
            total = part.add_up(of, total)
        assert total is not None, "there is a part"
        return total

    def sample(self, limit: int) -> Rows:
        return max(self.parts, key=len).sample(limit)


def add_up(chunks: Iterable[Rows], of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
    """`total` and what `of` makes of each of the chunks."""
    for chunk in chunks:
        total = merged(total, of(chunk))
    assert total is not None, "there are rows"
    return total


def merged(total: Sums | None, part: Sums) -> Sums:
    """Two sums as one."""
    return part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
