"""Components of training tasks are those that prediction shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icl.prediction.components import Components
from priors import MixturePrior, TaskBatch, TaskShape
from priors.components import components_of

N, R = 120, 180


def batch_of(task: str, missing: float, seed: int, n_features: int = 9) -> TaskBatch:
    prior = MixturePrior(task=task, missing=missing)
    return prior.sample(TaskShape(5, R, N, n_features), torch.Generator().manual_seed(seed))


def check(batch: TaskBatch, most: int = 100) -> list[int]:
    """How many components each task has, once they are found to be those of prediction."""
    shown, n_kept = components_of(batch, most).numpy(), []
    for X, flags, ours in zip(batch.X.numpy(), batch.is_categorical.numpy(), shown):
        numbers = X[:, ~flags]
        expected = Components(numbers[: batch.n_context], most)(numbers) if numbers.shape[1] else np.empty((len(X), 0))
        np.testing.assert_allclose(ours[:, : expected.shape[1]], expected, atol=2e-6)
        assert not ours[:, expected.shape[1] :].any()
        n_kept.append(expected.shape[1])
    return n_kept


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("missing", [0.0, 1.0])
def test_components_are_those_of_prediction(task, missing, seed):
    batch = batch_of(task, missing, seed)
    assert max(check(batch)) > 2 and max(check(batch, most=3)) == 3
    # Numbers and categories in one batch.
    flags = torch.rand(batch.is_categorical.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    check(replace(batch, is_categorical=flags))


def test_columns_that_say_nothing_give_none():
    batch = batch_of("regression", 0.0, 0, 4)
    X = batch.X.clone()
    X[0] = 3.0
    X[1] = X[1, :, :1].clone()  # one column four times
    X[2, :, 2:] = torch.nan
    X[3] *= 1e12
    X[4, :N, 1:] = torch.nan  # known of queries only
    flags = torch.zeros(5, 4, dtype=torch.bool)
    n_kept = check(replace(batch, X=X, is_categorical=flags))
    assert n_kept[0] == 0 and n_kept[1] == 1 and n_kept[2] <= 2
    none = components_of(replace(batch, is_categorical=~flags), 9)
    one = components_of(replace(batch, is_categorical=torch.arange(4).expand(5, 4) > 0), 9)
    assert not none.any() and not one.any()


def test_ties_are_settled_alike(seeded):
    """Two columns have loadings of one size; cells of a grid and copies have variances of one size."""
    batch = batch_of("regression", 0.0, 5, 2)
    numbers = torch.zeros_like(batch.is_categorical)
    assert max(check(replace(batch, X=torch.randn(5, R, 2, generator=seeded(6)), is_categorical=numbers))) == 2
    axis = torch.arange(3.0)
    grid = torch.cartesian_prod(axis, axis, axis, axis)[torch.arange(R) % 81]
    flags = torch.zeros(5, 4, dtype=torch.bool)
    for n_context in (81, N):
        check(replace(batch, X=grid.expand(5, R, 4), is_categorical=flags, n_context=n_context))
    # Each column twice, in another order in each task: sums of places tie too.
    twice = torch.stack(
        [torch.cat([grid, 9 - 3 * grid], 1)[:, torch.randperm(8, generator=seeded(k))] for k in range(5)]
    )
    check(replace(batch, X=twice, is_categorical=torch.zeros(5, 8, dtype=torch.bool), n_context=81))


def test_a_task_does_not_depend_on_the_others_nor_on_query_rows():
    batch = batch_of("classification", 1.0, 4)
    whole = components_of(batch, 9)
    alone = components_of(replace(batch, X=batch.X[2:3], y=batch.y[2:3], is_categorical=batch.is_categorical[2:3]), 9)
    torch.testing.assert_close(alone, whole[2:3], atol=2e-6, rtol=0)
    fewer = components_of(replace(batch, X=batch.X[:, : N + 7], y=batch.y[:, : N + 7]), 9)
    torch.testing.assert_close(fewer, whole[:, : N + 7], atol=2e-6, rtol=0)
