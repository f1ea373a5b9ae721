"""Noise about a straight part: mixtures cut off at ends, their shares."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import kstest, kurtosis, norm, t

from icl.joint.column import draw_each, fit_column
from icl.joint.kinds import Kind
from icl.joint.left_out import LeftOut
from icl.joint.noise import Noise, Normal, Said, fitted_shares
from icl.network.distribution import HistogramPredictive

INF = float("inf")


def histogram(n: int) -> HistogramPredictive:
    """Skewed, with tails on both sides."""
    edges = torch.linspace(-2.0, 4.0, 25, dtype=torch.float64)
    logits = -((torch.arange(26) - 9.0) ** 2) / 20 + torch.arange(26) / 10
    return HistogramPredictive(logits.expand(n, -1), edges)


def mixture(n: int, shares: list[float], ends: tuple[float, float]) -> Noise:
    start = np.full(n, 0.3)
    parts = [Said(histogram(n), start, 1.4), Normal(start + 1, np.full(n, 0.8)), Normal(start - 1, np.full(n, 2.0))]
    return Noise(n, parts[: len(shares)], np.array(shares), ends)


@pytest.mark.parametrize("ends", [(-INF, INF), (-1.0, INF), (-0.5, 2.0)])
@pytest.mark.parametrize("shares", [[1.0], [0.2, 0.5, 0.3]])
def test_density_mass_and_draws_are_of_one_distribution(shares, ends):
    grid = np.linspace(max(ends[0], -25.0), min(ends[1], 25.0), 20_001)
    of_grid = mixture(len(grid), shares, ends)
    density = np.exp(of_grid.log_density(grid))
    assert trapezoid(density, grid) == pytest.approx(1, abs=2e-3)
    low, high = np.full(1, 0.1), np.full(1, 1.3)
    inside = (grid > 0.1) & (grid <= 1.3)
    mass = np.exp(mixture(1, shares, ends).log_mass(low, high))
    assert mass == pytest.approx(trapezoid(density[inside], grid[inside]), abs=2e-3)
    draws = mixture(4_000, shares, ends).draw(np.random.default_rng(0))
    assert ends[0] <= draws.min() and draws.max() <= ends[1]
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    assert kstest(draws, lambda x: np.interp(x, grid, below)).pvalue > 1e-3
    assert kstest(draws + 0.1, lambda x: np.interp(x, grid, below)).pvalue < 1e-3


@pytest.mark.parametrize(("truth", "likeliest"), [("normal", 1), ("heavy", 0)])
def test_shares_go_to_what_rows_look_like(truth, likeliest):
    draws = {"normal": norm, "heavy": t(2)}[truth].rvs(size=300, random_state=0)
    logs = np.stack([t(2).logpdf(draws), norm.logpdf(draws)])
    shares = fitted_shares(np.tile(logs, 20), 300)
    assert shares.sum() == pytest.approx(1) and shares[likeliest] > 0.8
    # Few rows that were looked at often remain few.
    few = fitted_shares(np.tile(logs[:, :2], 100), 2)
    assert few.min() > 0.2


@pytest.mark.parametrize("is_normal", [True, False])
def test_samples_share_a_normal_noise_where_left_out_rows_look_like_one(is_normal):
    """The network's own noise, each sample with tails and spreads of its own, gave a slope 1.7 times the variance
    between completed tables that it should have."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=200) if is_normal else rng.choice([-3.0, 3.0], size=200) + 0.1 * rng.normal(size=200)
    z = rng.normal(size=200)
    X, column = pd.DataFrame({"z": z}), pd.Series(z + noise, name="x")
    kind, models, left_out = Kind.of(column), [], []
    for _ in range(8):
        weight = np.bincount(rng.integers(200, size=200), minlength=200)
        models.append(fit_column(X, column, kind=kind, weight=weight, options={"checkpoint": "nano"}))
        rows = np.flatnonzero(weight == 0)[:30]
        left_out.append(LeftOut(X.iloc[rows], kind.numbers(column.iloc[rows]), rows))
    draws = draw_each(models, [X] * 8, [rng] * 8, left_out)
    said, *normal = models[0].noise_shares
    assert sum(normal) > 0.6 if is_normal else said > 0.6
    rest = np.concatenate(draws) - np.tile(z, 8)
    assert rest.std() == pytest.approx(noise.std(), rel=0.15)
    assert abs(kurtosis(rest)) < 0.5 if is_normal else kurtosis(rest) < -1
