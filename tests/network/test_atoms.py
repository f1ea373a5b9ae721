"""Atoms beside a histogram: against sums and integrals of the definition, and against the histogram without atoms."""

import math

import pytest
import torch
from torch.testing import assert_close

from icl.network.atoms import AtomicPredictive
from icl.network.distribution import HistogramPredictive, histogram_edges

LOC, SCALE = 10.0, 2.0
ATOMS = torch.tensor([3.0, 9.5, 10.0, 25.0], dtype=torch.double)  # one of them beyond the last edge


@pytest.fixture
def dist(seeded):
    scores = torch.randn(6, 32 + len(ATOMS), dtype=torch.double, generator=seeded(0))
    scores[:, 32:] += 2.5
    return AtomicPredictive(scores, histogram_edges(32), ATOMS, LOC, SCALE)


def grid(n=400_001, reach=12.0):
    return torch.linspace(-reach, reach, n, dtype=torch.double) * SCALE + LOC


def test_masses_and_density_add_up_to_the_moments(dist):
    y = grid()
    width = y[1] - y[0]
    # Midpoints are no atoms: their log_prob is that of the density.
    y = y[:-1] + width / 2
    density = dist.log_prob(y[:, None]).exp()
    masses = dist.log_prob(ATOMS[:, None]).exp()
    assert_close(masses, dist.atom_probs.mT)
    assert_close((density * width).sum(0) + masses.sum(0), torch.ones(6, dtype=torch.double), rtol=0, atol=1e-4)
    mean = (density * y[:, None] * width).sum(0) + (masses * ATOMS[:, None]).sum(0)
    assert_close(mean, dist.mean, rtol=1e-4, atol=1e-4)
    spread = (density * (y[:, None] - mean) ** 2 * width).sum(0) + (masses * (ATOMS[:, None] - mean) ** 2).sum(0)
    assert_close(spread, dist.variance, rtol=1e-3, atol=1e-3)


def test_cdf_jumps_by_the_mass_and_icdf_is_its_least_inverse(dist):
    just_below = ATOMS - 1e-9
    jumps = dist.cdf(ATOMS[:, None]) - dist.cdf(just_below[:, None])
    assert_close(jumps, dist.atom_probs.mT, rtol=0, atol=1e-7)
    z = (ATOMS - LOC) / SCALE
    assert_close(dist.cdf_at(z), dist.cdf(ATOMS[:, None]).mT)
    for q in torch.linspace(0.003, 0.997, 97, dtype=torch.double).tolist():
        value = dist.icdf(q)
        assert (dist.cdf(value) >= q - 1e-12).all()
        assert (dist.cdf(value - 1e-6) <= q + 1e-9).all()
    levels = torch.linspace(0.001, 0.999, 999, dtype=torch.double)[:, None].expand(-1, 6)
    assert (dist.icdf(levels).diff(dim=0) >= 0).all()


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.99])
def test_ends_hold_their_mass_in_no_more_than_equal_tails_need(dist, coverage):
    low, high = dist.ends(coverage)
    tail = (1 - coverage) / 2
    left, right = dist.icdf(tail), dist.icdf(1 - tail)
    at_low = torch.where(low[:, None] == ATOMS, dist.atom_probs, 0).sum(-1)
    inside = dist.cdf(high) - dist.cdf(low) + at_low
    assert (inside >= coverage - 1e-9).all()
    assert (low >= left).all() and (high <= right).all()
    is_plain = ~torch.isin(left, ATOMS) & ~torch.isin(right, ATOMS)
    assert_close(low[is_plain], left[is_plain])
    assert_close(high[is_plain], right[is_plain])


def test_the_tail_that_an_atom_leaves_is_spent_at_the_other_end():
    """Nothing lies below 3, or above 25: all that may lie outside is outside at the other end."""
    z = (ATOMS - LOC) / SCALE
    middle = torch.where((histogram_edges(32) > z[0]) & (histogram_edges(32) < z[-1]), 0.0, -torch.inf).double()
    for atom, tail_at in ((0, "low"), (3, "high")):
        scores = torch.full((36,), -torch.inf, dtype=torch.double)
        scores[1:32] = middle
        scores[32 + atom] = math.log(15.0)
        d = AtomicPredictive(scores, histogram_edges(32), ATOMS, LOC, SCALE)
        low, high = d.ends(0.8)
        assert (low if tail_at == "low" else high) == ATOMS[atom]
        assert_close(d.cdf(high) - d.cdf(low) + d.atom_probs[0] * (low == ATOMS[0]), torch.tensor(0.8).double())


def test_steps_keep_equal_tails():
    scores = torch.full((36,), -40.0, dtype=torch.double)
    scores[32:] = torch.tensor([0.3, 0.2, 0.1, 0.0], dtype=torch.double)
    d = AtomicPredictive(scores, histogram_edges(32), ATOMS, LOC, SCALE)
    assert [float(end) for end in d.ends(0.4)] == [float(d.icdf(0.3)), float(d.icdf(0.7))]


def test_crps_is_the_integral_of_its_definition(dist):
    y = grid(n=200_001)
    cdf = dist.cdf(y[:, None])
    for value in (-3.0, 3.0, 9.4, 9.5, 10.0, 11.7, 25.0, 27.0):
        integral = ((cdf - (y >= value).double()[:, None]).square() * (y[1] - y[0])).sum(0)
        assert_close(dist.crps(torch.full((6,), value, dtype=torch.double)), integral, rtol=2e-3, atol=1e-3)


def test_draws_are_atoms_as_often_as_these_hold_mass(dist, seeded):
    n = 20_000
    draws = dist.sample(n, seeded(1))
    for a, atom in enumerate(ATOMS):
        share, p = (draws == atom).double().mean(0), dist.atom_probs[:, a]
        assert ((share - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all()
    assert ((draws.mean(0) - dist.mean).abs() < 4.5 * dist.stddev / math.sqrt(n)).all()


def test_atoms_without_mass_change_nothing(seeded):
    scores = torch.randn(5, 32, dtype=torch.double, generator=seeded(3))
    plain = HistogramPredictive(scores, histogram_edges(32), LOC, SCALE)
    nothing = torch.full((5, len(ATOMS)), -80.0, dtype=torch.double)
    atomic = AtomicPredictive(torch.cat([scores, nothing], 1), plain.edges, ATOMS, LOC, SCALE)
    value = torch.tensor([4.0, 9.0, 10.1, 12.0, 26.0], dtype=torch.double)
    for name in ("mean", "variance", "median", "mode"):
        assert_close(getattr(atomic, name), getattr(plain, name))
    for name in ("cdf", "log_prob", "crps"):
        # An atom in a tail is a point more of the grid on which its CRPS is integrated.
        assert_close(getattr(atomic, name)(value), getattr(plain, name)(value), rtol=1e-6, atol=1e-6)
    assert_close(atomic.icdf(0.1), plain.icdf(0.1))


def test_whole_numbers_alone_are_a_discrete_distribution():
    """All mass on atoms far from zero: the moments of the discrete distribution, to the digit."""
    p = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.double)
    atoms = 1e9 + torch.tensor([0.0, 1.0, 4.0], dtype=torch.double)
    scores = torch.cat([torch.full((1, 32), -60.0, dtype=torch.double), p.log()], 1)
    dist = AtomicPredictive(scores, histogram_edges(32), atoms, 1e9 + 1.0, 2.0)
    assert_close(dist.mean - 1e9, torch.tensor([1.7], dtype=torch.double), rtol=0, atol=1e-6)
    assert_close(dist.variance, torch.tensor([0.5 + 4.8 - 1.7**2], dtype=torch.double), rtol=0, atol=1e-6)
    assert dist.mode == 1e9 + 1 and dist.median == 1e9 + 1
    assert dist.icdf(0.2) == 1e9 and dist.icdf(0.71) == 1e9 + 4
    # Of a discrete distribution: E|Y - y| - E|Y - Y'| / 2.
    expected = 0.2 * 1 + 0.3 * 3 - (0.2 * 0.5 * 1 + 0.2 * 0.3 * 4 + 0.5 * 0.3 * 3)
    crps = dist.crps(torch.tensor([1e9 + 1], dtype=torch.double))
    assert_close(crps, torch.tensor([expected], dtype=torch.double), rtol=0, atol=1e-5)


def test_mixture_index_and_words(dist):
    both = AtomicPredictive.mixture([dist, dist])
    assert_close(both.masses, dist.masses)
    assert_close(dist[2:4].mean, dist.mean[2:4])
    assert repr(dist).startswith("AtomicPredictive of 6 rows, 32 bins and 4 atoms; mean ")
    with pytest.raises(ValueError, match="32 bins and 4 atoms need as many scores, got 30"):
        AtomicPredictive(torch.zeros(1, 30), histogram_edges(32), ATOMS)
