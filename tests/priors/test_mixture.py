"""Mixtures: weights, their curriculum, and the curriculum of shapes."""

import math

import pytest
import torch

from priors import LinearPrior, MixturePrior, ShapeSampler, TaskBatch, TaskShape
from priors.resolution import Resolution


class Constant:
    """Tasks whose targets are one number, to see which component answered."""

    def __init__(self, value: float):
        self.value = value

    def sample(self, shape, generator):
        X = torch.randn(shape.n_tasks, shape.n_rows, shape.n_features, generator=generator)
        y = torch.full((shape.n_tasks, shape.n_rows), self.value)
        return TaskBatch(X, y, shape.n_context, torch.zeros(shape.n_tasks, shape.n_features, dtype=torch.bool))


def bare(**options) -> MixturePrior:
    return MixturePrior([Constant(0.0), Constant(1.0)], transforms=[], learnable=False, **options)


def share_of_second(prior, seeded, n=2_000) -> float:
    generator = seeded(0)
    return sum(float(prior.sample(TaskShape(1, 8, 4, 1), generator).y[0, 0]) for _ in range(n)) / n


@pytest.mark.parametrize(("weights", "expected"), [(None, 0.5), ([3, 1], 0.25), ([0, 2], 1.0)])
def test_components_answer_by_weight(weights, expected, seeded):
    error = 4 * math.sqrt(expected * (1 - expected) / 2_000)
    assert abs(share_of_second(bare(weights=weights), seeded) - expected) <= error


def test_weights_follow_the_step():
    prior = bare(weights=[1, 0], final_weights=[0, 1], ramp_steps=100)
    assert [prior.at_step(step).weights[1] for step in (0, 25, 100, 999)] == [0, 0.25, 1, 1]
    assert bare().at_step(5).weights == [1.0, 1.0]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="one weight per component"):
        bare(weights=weights)


def test_shapes_grow_with_the_step(seeded):
    sampler = ShapeSampler(n_cells=8_000, rows=(32, 512), first_cells=1_000, first_rows=64, ramp_steps=100)
    early, late = sampler.at_step(0), sampler.at_step(100)
    assert early.rows == (32, 64) and early.n_cells == 1_000
    assert late.rows == (32, 512) and late.n_cells == 8_000
    assert 64 < sampler.at_step(50).rows[1] < 512
    generator = seeded(0)
    assert all(early.sample(generator).n_rows <= 64 for _ in range(200))
    with pytest.raises(ValueError, match="first_rows"):
        ShapeSampler(rows=(32, 512), first_rows=16)


def test_any_prior_may_be_a_component(seeded):
    batch = MixturePrior([LinearPrior()]).sample(TaskShape(4, 30, 20, 3), seeded(1))
    assert batch.n_classes is None and batch.y.isfinite().all()


def test_resolution_rounds_the_share_of_columns_and_targets_asked_for(seeded):
    n = 3_000
    batch = Constant(0.0).sample(TaskShape(n, 60, 40, 3), seeded(2))
    batch = TaskBatch(batch.X, torch.randn(n, 60, generator=seeded(3)), 40, batch.is_categorical)
    done = Resolution(columns=0.4, targets=0.7, steps=(2.0, 2.0))(batch, seeded(4))
    columns, targets = (done.X != batch.X).any(1).double().mean(), (done.y != batch.y).any(1).double().mean()
    assert abs(columns - 0.4) < 4 * math.sqrt(0.24 / (3 * n))
    assert abs(targets - 0.7) < 4 * math.sqrt(0.21 / n)
    # Two steps per standard deviation: the rounding error is uniform with standard deviation 1 / (2 sqrt(12)).
    error = (done.y - batch.y)[(done.y != batch.y).any(1)]
    assert abs(error.std() * 2 * math.sqrt(12) - 1) < 0.02


def test_no_resolution_is_the_identity_and_keeps_missing_cells_and_flags(seeded):
    batch = MixturePrior().sample(TaskShape(20, 40, 30, 5), seeded(5))
    same = Resolution(columns=0, targets=0)(batch, seeded(6))
    assert torch.equal(same.X.nan_to_num(), batch.X.nan_to_num()) and torch.equal(same.y, batch.y)
    coarse = Resolution(columns=1, targets=1, steps=(0.01, 0.01))(batch, seeded(7))
    assert torch.equal(coarse.X.isnan(), batch.X.isnan())
    flagged = batch.is_categorical[:, None].expand_as(batch.X)
    assert torch.equal(coarse.X[flagged].nan_to_num(), batch.X[flagged].nan_to_num())
