"""Missing cells: exact marginal rates, and what each mechanism depends on."""

import math

import pytest
import torch
from torch.testing import assert_close

from priors import TaskBatch
from priors.missing import (
    MissingAtRandom,
    MissingBlocks,
    MissingCompletelyAtRandom,
    MissingNotAtRandom,
    follow,
    mask_cells,
)
from priors.transform import is_constant, modulate

MECHANISMS = [MissingCompletelyAtRandom, MissingAtRandom, MissingNotAtRandom]


def skewed(seeded, n_tasks=60, n_rows=1_000, n_features=4):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(1)).exp()  # rates must not need normal columns
    y = torch.randn(n_tasks, n_rows, generator=seeded(2))
    return TaskBatch(X, y, n_rows // 2, torch.zeros(n_tasks, n_features, dtype=torch.bool))


@pytest.mark.parametrize("rate", [0.03, 0.4, 0.9])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_affected_columns_miss_their_rate_exactly(mechanism, rate, seeded):
    missing = mechanism(rate=rate)(skewed(seeded), seeded(3)).X.isnan()
    affected = missing.any(1)
    assert affected.sum(1).float().mean() == (3 if mechanism is MissingAtRandom else 4)
    hits = missing.mT[affected]
    # Given the probabilities, the variance is at most that of a coin with their mean.
    assert abs(hits.double().mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / hits.numel())


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.97])
def test_probabilities_are_probabilities_with_exactly_their_mean(rate, seeded):
    weight = torch.randn(50, 300, generator=seeded(4)).mul(3).exp()
    p = modulate(torch.full((50, 1), rate), weight, 1)
    assert p.min() >= 0 and p.max() <= 1 + 1e-6
    assert_close(p.mean(1), torch.full((50,), rate), rtol=1e-4, atol=0)
    assert p.gather(1, weight.argsort(1)).diff(dim=1).min() > -1e-6  # they grow with the weight


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_share_of_the_columns_has_gaps(mechanism, seeded):
    batch = skewed(seeded, n_tasks=400, n_rows=60, n_features=12)
    affected = mechanism(rate=0.5, columns=0.4)(batch, seeded(5)).X.isnan().any(1).double()
    expected = 0.4 * (11 / 12 if mechanism is MissingAtRandom else 1)
    assert abs(affected.mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / affected.numel())


def mean_gap(column, missing):
    """Per task: mean of `column` where another column is missing, less where it is not, in standard errors."""
    n = missing.sum(1)
    m = missing.shape[1] - n
    gap = (column * missing).sum(1) / n - (column * ~missing).sum(1) / m
    return gap / (column.var(1) * (1 / n + 1 / m)).sqrt()


def test_only_the_mechanism_asked_for_is_at_work(seeded):
    """Two independent normal columns, one with gaps: the gaps relate to nothing, to the other column, or to itself."""
    X = torch.randn(300, 1_000, 2, generator=seeded(6))
    batch = TaskBatch(X, X[..., 0], 500, torch.zeros(300, 2, dtype=torch.bool))
    for mechanism, own, other in zip(MECHANISMS, (0, 0, 1), (0, 1, 0), strict=True):
        missing = mechanism(rate=0.3)(batch, seeded(7)).X.isnan()
        if mechanism is not MissingAtRandom:
            missing[..., 1] = False
        gaps = missing.any(1)[..., 0]  # tasks whose first column has gaps; the second is whole
        assert gaps.sum() > 100
        for k, at_work in enumerate((own, other)):
            z = mean_gap(X[gaps, :, k], missing[gaps, :, 0])
            if at_work:
                assert z.abs().min() > 4  # in every task
            else:
                assert abs(z.square().mean() - 1) < 4 * math.sqrt(2 / len(z))


def test_a_single_column_has_no_driver_but_keeps_its_rate(seeded):
    batch = skewed(seeded, n_features=1)
    missing = MissingAtRandom(rate=0.2)(batch, seeded(8)).X.isnan()
    assert abs(missing.double().mean() - 0.2) < 4 * math.sqrt(0.16 / missing.numel())
    z = mean_gap(batch.X[..., 0].log(), missing[..., 0])
    assert abs(z.square().mean() - 1) < 4 * math.sqrt(2 / len(z))


def test_blocks_are_missing_together(seeded):
    batch = skewed(seeded, n_tasks=200, n_features=6)
    missing = MissingBlocks(rate=0.25, columns=0.5)(batch, seeded(9)).X.isnan()
    affected = missing.any(1)
    assert abs(affected.double().mean() - 0.5) < 4 * math.sqrt(0.25 / affected.numel())
    per_row = missing.sum(2)
    assert ((per_row == 0) | (per_row == affected.sum(1, keepdim=True))).all()
    rows = (per_row > 0)[affected.any(1)]
    assert abs(rows.double().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / rows.numel())


@pytest.mark.parametrize("mechanism", [*MECHANISMS, MissingBlocks])
def test_no_column_dies(mechanism, seeded):
    batch = skewed(seeded, n_tasks=500, n_rows=8)
    out = mechanism(rate=0.9, columns=1.0)(batch, seeded(10)).X
    assert out.isnan().any() and not is_constant(out).any()


def test_gaps_that_exist_stay_and_do_not_spread(seeded):
    batch = skewed(seeded)
    batch.X[:, ::7] = torch.nan
    for mechanism in MECHANISMS:
        out = mechanism(rate=0.1)(batch, seeded(11)).X
        assert out[batch.X.isnan()].isnan().all()
        fresh = out.isnan() & ~batch.X.isnan()
        assert 0 < fresh.double().mean() < 0.12


def test_the_task_level_recipe_follows_rates_per_column(seeded):
    X = torch.randn(3, 400, 2, generator=seeded(12))
    rate, slope = torch.tensor([0.1, 0.6]).expand(3, 1, 2), torch.tensor([2.0, -2.0]).expand(3, 1, 2)
    p = follow(X, rate, slope)
    assert_close(p.mean(1), rate[:, 0])
    assert (torch.stack([torch.corrcoef(torch.stack([p[b, :, 0], X[b, :, 0]]))[0, 1] for b in range(3)]) > 0.8).all()
    untouched = mask_cells(X, seeded(13), 0.0)
    assert torch.equal(untouched, X)
