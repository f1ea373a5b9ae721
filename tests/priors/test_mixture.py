"""Mixtures: weights, their curriculum, and the curriculum of shapes."""

import math

import pytest
import torch

from priors import LinearPrior, MixturePrior, ShapeSampler, TaskBatch, TaskShape
from priors.table import TableEffects


class Constant:
    """Tasks whose targets are one number, to see which component answered."""

    def __init__(self, value: float):
        self.value = value

    def sample(self, shape, generator):
        X = torch.randn(shape.n_tasks, shape.n_rows, shape.n_features, generator=generator)
        y = torch.full((shape.n_tasks, shape.n_rows), self.value)
        return TaskBatch(X, y, shape.n_context, torch.zeros(shape.n_tasks, shape.n_features, dtype=torch.bool))


def bare(**options) -> MixturePrior:
    return MixturePrior([Constant(0.0), Constant(1.0)], effects=TableEffects(amount=0), learnable=False, **options)


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
