"""The contract between priors and models: a `TaskShape` goes in, a `TaskBatch` comes out.

Dimension key: B tasks, R rows = N context + M query, F features, C classes.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class TaskShape:
    """What decides the cost of a batch; all tasks of a batch share it."""

    n_tasks: int
    n_rows: int
    n_context: int
    n_features: int

    def __post_init__(self):
        if self.n_tasks < 1 or self.n_features < 1:
            raise ValueError(f"a task batch needs at least one task and one feature, got {self}.")
        if not 2 <= self.n_context < self.n_rows:
            raise ValueError(f"n_context must lie in [2, n_rows), so that both context and query exist; got {self}.")

    @property
    def n_cells(self) -> int:
        return self.n_tasks * self.n_rows * self.n_features


@dataclass(frozen=True)
class TaskBatch:
    """B synthetic tables of one shape. Rows [0, n_context) carry labels, the others are queries.

    Attributes:
        X: (B, R, F) float32; NaN marks a missing cell, categorical columns hold integer codes.
        y: (B, R) float32 targets in arbitrary units, or int64 classes 0..n_classes-1.
        n_context: N, the same for every task, so no masks are needed.
        is_categorical: (B, F) bool.
        n_classes: (B,) int64; None for regression.
    """

    X: Tensor
    y: Tensor
    n_context: int
    is_categorical: Tensor
    n_classes: Tensor | None = None

    @property
    def y_context(self) -> Tensor:
        """(B, N)"""
        return self.y[:, : self.n_context]

    @property
    def y_query(self) -> Tensor:
        """(B, M)"""
        return self.y[:, self.n_context :]

    @property
    def shape(self) -> TaskShape:
        n_tasks, n_rows, n_features = self.X.shape
        return TaskShape(n_tasks, n_rows, self.n_context, n_features)

    def to(self, device: torch.device | str, **kwargs) -> TaskBatch:
        """The same batch on `device` (Lightning calls this, hence `**kwargs` such as `non_blocking`)."""
        changed: dict[str, Any] = {
            name: value.to(device, **kwargs) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


if TYPE_CHECKING:

    class Prior(Protocol):
        """A distribution over tasks. Anything with this one method can be trained on."""

        def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
            """Draw one batch on `generator.device`; a pure function of the generator's state."""
            ...

else:

    class Prior(ABC):  # noqa: B024 - what it asks for is in the hook
        """A distribution over tasks. Anything with a method `sample(shape, generator)` can be trained on.

        At run time no protocol: jsonargparse compares the annotations of protocols, and a prior need have none.
        """

        @classmethod
        def __subclasshook__(cls, other: type) -> bool:
            return callable(getattr(other, "sample", None)) if cls is Prior else NotImplemented
