"""The histogram density against numerical integration, and against a normal it imitates."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from icl.network.distribution import CategoricalPredictive, HistogramPredictive, histogram_edges


@pytest.fixture
def dist(seeded):
    scores = torch.randn(3, 4, 32, dtype=torch.double, generator=seeded(0))
    loc = torch.tensor([[1.0], [-2.0], [0.0]], dtype=torch.double)
    scale = torch.tensor([[2.0], [0.5], [1.0]], dtype=torch.double)
    return HistogramPredictive(scores, histogram_edges(32), loc, scale)


def grid_of(dist, n=200_001, reach=12.0):
    z = torch.linspace(-reach, reach, n, dtype=torch.double)
    return z[:, None, None] * dist.scale + dist.loc


def test_density_integrates_to_its_moments(dist):
    y = grid_of(dist)
    density = dist.log_prob(y).exp()
    width = y[1] - y[0]
    assert_close((density * width).sum(0), torch.ones(3, 4, dtype=torch.double), rtol=0, atol=1e-4)
    mean = (density * y * width).sum(0)
    assert_close(mean, dist.mean, rtol=1e-3, atol=1e-3)
    assert_close((density * (y - mean).square() * width).sum(0), dist.variance, rtol=1e-3, atol=1e-3)


def test_cdf_is_the_integral_and_icdf_its_inverse(dist):
    y = grid_of(dist, n=20_001)
    density = dist.log_prob(y).exp()
    running = (density * (y[1] - y[0])).cumsum(0)
    assert_close(running[::1000], dist.cdf(y[::1000]), rtol=0, atol=2e-3)
    for q in (0.001, 0.05, 0.31, 0.5, 0.9, 0.999):
        assert_close(dist.cdf(dist.icdf(q)), torch.full((3, 4), q, dtype=torch.double), rtol=0, atol=1e-9)


def test_crps_is_the_integral_of_its_definition(dist):
    y = grid_of(dist, n=100_001)
    cdf = dist.cdf(y)
    for at in (-7.0, -1.3, 0.0, 0.4, 6.5):
        value = dist.loc + dist.scale * at + torch.zeros(3, 4, dtype=torch.double)
        integral = ((cdf - (y >= value).double()).square() * (y[1] - y[0])).sum(0)
        assert_close(dist.crps(value), integral, rtol=2e-3, atol=1e-3)


def test_imitates_a_normal(seeded):
    """Masses of a normal give its mean, spread, quantiles, density and CRPS up to the bin width."""
    edges = histogram_edges(256)
    normal = torch.distributions.Normal(torch.tensor(0.2, dtype=torch.double), torch.tensor(0.7, dtype=torch.double))
    cdf = torch.cat([torch.zeros(1), normal.cdf(edges), torch.ones(1)])
    dist = HistogramPredictive((cdf[1:] - cdf[:-1]).clamp_min(1e-300).log(), edges)
    assert_close(dist.mean, normal.mean, rtol=0, atol=1e-3)
    assert_close(dist.stddev, normal.stddev, rtol=0, atol=2e-3)
    assert_close(dist.icdf(0.9), normal.icdf(torch.tensor(0.9, dtype=torch.double)), rtol=0, atol=5e-3)
    value = torch.tensor(0.9, dtype=torch.double)
    assert_close(dist.log_prob(value), normal.log_prob(value), rtol=0, atol=3e-2)
    z = (value - 0.2) / 0.7
    closed = 0.7 * (
        z * (2 * torch.special.ndtr(z) - 1) + 2 * normal.log_prob(value).exp() * 0.7 - 1 / math.sqrt(math.pi)
    )
    assert_close(dist.crps(value), closed, rtol=0, atol=2e-3)


def test_draws_follow_the_cdf(dist, seeded):
    n = 20_000
    draws = dist.sample(n, seeded(1))
    for q in (0.1, 0.5, 0.9):
        share = (draws <= dist.icdf(q)).double().mean(0)
        assert ((share - q).abs() < 4.5 * math.sqrt(q * (1 - q) / n)).all()


def test_mixture_averages_densities_and_indexing_keeps_rows(dist, seeded):
    other = HistogramPredictive(
        torch.randn(3, 4, 32, dtype=torch.double, generator=seeded(2)), dist.edges, dist.loc, dist.scale
    )
    value = dist.loc + torch.zeros(3, 4, dtype=torch.double)
    both = HistogramPredictive.mixture([dist, other])
    assert_close(both.log_prob(value).exp(), (dist.log_prob(value).exp() + other.log_prob(value).exp()) / 2)
    assert_close(dist[1:].mean, dist.mean[1:])


def test_fractions_outside_the_unit_interval_are_refused(dist):
    with pytest.raises(ValueError, match=r"fractions in \(0, 1\).*0.9 for 90%"):
        dist.icdf(90.0)


def test_categorical_excludes_masked_classes():
    dist = CategoricalPredictive(torch.tensor([[1.0, 2.0, -torch.inf]]))
    assert dist.probs[0, 2] == 0 and dist.mode.item() == 1
    assert dist.entropy.isfinite().all()
    mixed = CategoricalPredictive.mixture([dist, CategoricalPredictive(torch.tensor([[0.0, 0.0, -torch.inf]]))])
    assert_close(mixed.probs.sum(-1), torch.ones(1))
    assert_close(mixed.probs[0, 1], (dist.probs[0, 1] + 0.5) / 2)


def test_what_people_type_works():
    """`repr` says what it is of, `sample(3)` needs no generator, `log_prob` takes NumPy and lists."""
    edges = histogram_edges(16)
    scores = torch.randn(5, 16, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    numbers = HistogramPredictive(scores, edges, 100.0, 10.0)
    assert repr(numbers).startswith("HistogramPredictive of 5 rows, 16 bins; mean ")
    assert f"{float(numbers.mean[0]):.4g}" in repr(numbers) and repr(numbers).count("...") == 2
    assert torch.equal(numbers.sample(3), numbers.sample(3)) and numbers.sample(3).shape == (3, 5)
    assert not torch.equal(numbers.sample(3), numbers.sample(3, torch.Generator().manual_seed(1)))
    values = numbers.mean.numpy()
    assert torch.equal(numbers.log_prob(values), numbers.log_prob(numbers.mean))
    assert torch.equal(numbers.crps(values.tolist()), numbers.crps(numbers.mean))
    classes = CategoricalPredictive(scores[:, :3])
    assert repr(classes).startswith("CategoricalPredictive of 5 rows, 3 classes; mode ")
    assert torch.equal(classes.log_prob(classes.mode.numpy()), classes.log_probs.max(-1).values)
    draws = classes.sample(20_000)
    shares = torch.stack([(draws == c).double().mean(0) for c in range(3)], -1)
    assert (shares - classes.probs).abs().max() < 4.5 * 0.5 / 20_000**0.5
    assert repr(CategoricalPredictive(scores.view(1, 5, 16))).startswith("CategoricalPredictive of batch shape (1, 5)")


def test_seeds_and_numpy_in_and_out(dist):
    """A seed names the draws, as an int or as NumPy's generators; `numpy()` answers in arrays what tensors say."""
    assert torch.equal(dist.sample(4, random_state=7), dist.sample(4, torch.Generator().manual_seed(7)))
    seeds = [np.random.default_rng(3), np.random.default_rng(3), np.random.default_rng(4), np.random.RandomState(3)]
    drawn = [dist.sample(4, random_state=seed) for seed in seeds]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    arrays = dist.numpy()
    levels = np.full((3, 4), 0.3)
    for got, wanted in (
        (arrays.mean, dist.mean),
        (arrays.icdf(levels), dist.icdf(0.3)),
        (arrays.cdf(levels.tolist()), dist.cdf(0.3)),
        (arrays[0].stddev, dist[0].stddev),
        (arrays.sample(2, random_state=1), dist.sample(2, random_state=1)),
    ):
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, wanted.numpy())
    assert "3, 4" in repr(arrays) and copy.deepcopy(arrays).mean.shape == (3, 4)
