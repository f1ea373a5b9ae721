"""What training takes for granted of a prior, checked on two small draws before the first step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from priors.shapes import ShapeSampler
from priors.stream import seeded_generator
from priors.task import Prior, TaskBatch, TaskShape

_SEED = 2**31 + 5  # of no run, by accident


def check_prior(prior: Prior, shapes: ShapeSampler) -> None:
    """Nothing, if the prior gives batches that can be trained on, the same ones from the same generator.

    Raises:
        TypeError: for what is no `TaskBatch`.
        ValueError: for a batch of other sizes, types or values, or one that does not come again.
    """
    shape = replace(shapes.sample(seeded_generator(_SEED, 0)), n_tasks=2)
    first, again = (prior.sample(shape, seeded_generator(_SEED, 1)) for _ in range(2))
    name = type(prior).__name__
    if not isinstance(first, TaskBatch):
        raise TypeError(
            f"{name}.sample gave a {type(first).__name__}; return priors.TaskBatch(X=, y=, n_context=, "
            f"is_categorical=, n_classes=None), whose docstring says what each holds."
        )
    if wrong := _wrong(first, shape):
        raise ValueError(f"{name}.sample was asked for {shape} and gave {wrong}.")
    if not all(_same(one, two) for one, two in zip(vars(first).values(), vars(again).values(), strict=True)):
        raise ValueError(
            f"{name}.sample gave another batch from a generator in the same state, so that no run of it could be "
            f"resumed or repeated. Draw all of it from the generator that it is given: "
            "torch.randn(..., generator=generator)."
        )


def _wrong(batch: TaskBatch, shape: TaskShape) -> str:
    """What is wrong with a batch, in words that follow "gave"; empty if nothing is."""
    B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
    k = batch.n_classes
    expected = {
        "X": (batch.X, (B, R, F), (torch.float32,)),
        "y": (batch.y, (B, R), (torch.float32,) if k is None else (torch.int64,)),
        "is_categorical": (batch.is_categorical, (B, F), (torch.bool,)),
        **({} if k is None else {"n_classes": (k, (B,), (torch.int64,))}),
    }
    for field, (value, size, kinds) in expected.items():
        if not isinstance(value, Tensor):
            return f"{field} as a {type(value).__name__}; a tensor of {kinds[0]} is wanted"
        if tuple(value.shape) != size:
            return f"{field} of shape {tuple(value.shape)}; {size} is wanted"
        if value.dtype not in kinds:
            beside = " beside n_classes" if field == "y" and k is not None else ""
            return f"{field} of {value.dtype}; {kinds[0]} is wanted{beside}"
    if batch.n_context != shape.n_context:
        return f"n_context {batch.n_context}"
    if torch.isinf(batch.X).any():
        return "infinite cells in X; missing ones are NaN"
    if k is None and not torch.isfinite(batch.y).all():
        return "targets that are not finite"
    if k is not None and not ((batch.y >= 0) & (batch.y < k[:, None])).all():
        return (
            f"classes from {int(batch.y.min())} to {int(batch.y.max())} for n_classes {k.tolist()}; they count from 0"
        )
    return ""


def _same(one: Any, two: Any) -> bool:
    if not isinstance(one, Tensor):
        return one == two
    return torch.equal(one.isnan(), two.isnan()) and torch.equal(one.nan_to_num(), two.nan_to_num())
