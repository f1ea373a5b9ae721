"""Categories, duplicated, collinear and irrelevant columns: shares, level sizes and what stays."""

import math

import pytest
import torch
from torch.testing import assert_close

from priors import TaskBatch
from priors.columns import (
    Categories,
    CollinearColumns,
    DuplicateColumns,
    IrrelevantColumns,
    cut,
    discretise,
    level_shares,
)
from priors.draw import standardise
from priors.transform import is_constant


def table(seeded, n_tasks=100, n_rows=300, n_features=10):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(1)).exp()
    no_flags = torch.zeros(n_tasks, n_features, dtype=torch.bool)
    return TaskBatch(X, X[..., 0].clone(), n_rows // 2, no_flags)


def assert_mean(values, expected):
    values = values.double().flatten()
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values)) + 1e-9


def column_counts(codes, n_levels):
    """(D, K) how often each code occurs."""
    return torch.zeros(len(codes), n_levels).scatter_add_(1, codes.long(), torch.ones_like(codes))


@pytest.mark.parametrize(("levels", "zipf"), [(2, 1.0), (20, 0.0), (200, 1.2)])
def test_level_sizes_follow_zipf(levels, zipf, seeded):
    """Shuffled codes hide which level is which, so the law is tested by what no shuffle changes: sums of powers."""
    batch = table(seeded, n_rows=2_000)
    out = Categories(columns=1.0, levels=(levels, levels), zipf=(zipf, zipf))(batch, seeded(2))
    assert out.is_categorical.all() and out.X.max() < levels
    count = column_counts(out.X.mT.flatten(0, 1), levels).double()
    weight = torch.arange(1, levels + 1, dtype=torch.double) ** -zipf
    share = weight / weight.sum()
    # Ranks are spread evenly, so a level's count is its share of the rows up to one.
    assert (count.sort(descending=True).values - 2_000 * share).abs().max() <= 1.01


def test_cardinality_reaches_200_and_codes_are_shuffled(seeded):
    batch = table(seeded, n_rows=2_000)
    out = Categories(columns=1.0)(batch, seeded(3))
    n_codes = out.X.amax(1) + 1
    assert n_codes.min() == 2 and n_codes.max() > 190
    assert_mean(n_codes.log() < math.log(20), 0.5)  # log-uniform, as sqrt(2 * 200) = 20
    many = n_codes > 50
    code, value = out.X.mT[many], batch.X.mT[many]
    ranks = value.argsort(1).argsort(1).double()
    assert_mean((standardise(code.double(), 1) * standardise(ranks, 1)).mean(1), 0.0)


@pytest.mark.parametrize("columns", [0.0, 0.3])
def test_a_share_of_the_columns_becomes_categorical(columns, seeded):
    batch = table(seeded)
    out = Categories(columns=columns)(batch, seeded(4))
    assert_mean(out.is_categorical, columns)
    numeric = ~out.is_categorical[:, None].expand_as(out.X)
    assert torch.equal(out.X[numeric], batch.X[numeric])


def test_columns_with_gaps_and_categories_stay(seeded):
    batch = table(seeded)
    batch.X[:, 0, 0] = torch.nan
    batch.is_categorical[:, 1] = True
    out = Categories(columns=1.0)(batch, seeded(5))
    assert torch.equal(out.X[..., 1], batch.X[..., 1])
    assert_close(out.X[..., 0], batch.X[..., 0], rtol=0, atol=0, equal_nan=True)
    assert not out.is_categorical[:, 0].any() and out.is_categorical[:, 1:].all()


def test_duplicates_have_their_rate_and_copy_a_column_that_stays(seeded):
    batch = table(seeded, n_tasks=400)
    batch.is_categorical[:, ::2] = True
    out = DuplicateColumns(rate=0.2)(batch, seeded(6))
    changed = (out.X != batch.X).any(1)
    assert_mean(changed, 0.2)
    same = (out.X[..., :, None] == batch.X[..., None, :]).all(1)  # (B, F, G): column f is now what column g was
    assert (same.sum(-1) == 1).all()
    source = same.int().argmax(-1)
    assert not changed.gather(1, source)[changed].any()
    assert torch.equal(out.is_categorical, batch.is_categorical.gather(1, source))


def test_collinear_columns_have_the_r_squared_asked_for(seeded):
    batch = table(seeded, n_tasks=60, n_rows=2_000, n_features=4)
    batch.is_categorical[:] = True
    out = CollinearColumns(rate=0.4, noise=0.5)(batch, seeded(7))
    changed = (out.X != batch.X).any(1)
    assert torch.equal(out.is_categorical, ~changed)
    r_squared = []
    for b, f in changed.nonzero().tolist():
        kept = out.X[b][:, ~changed[b]].double()
        design = torch.cat([torch.ones(2_000, 1, dtype=torch.double), kept], 1)
        y = out.X[b, :, f].double()
        residual = y - design @ torch.linalg.lstsq(design, y).solution
        r_squared.append(1 - residual.var() / y.var())
    assert_mean(torch.stack(r_squared), 0.8)


def test_one_column_cannot_be_collinear_or_a_copy(seeded):
    batch = table(seeded, n_features=1)
    for transform in (DuplicateColumns(rate=1.0), CollinearColumns(rate=1.0)):
        assert torch.equal(transform(batch, seeded(8)).X, batch.X)


def test_irrelevant_columns_keep_their_marginal_and_lose_the_rest(seeded):
    batch = table(seeded, n_tasks=400, n_features=3)
    batch = TaskBatch(batch.X[..., :1].repeat(1, 1, 3), batch.y, 150, batch.is_categorical)
    out = IrrelevantColumns(rate=0.5)(batch, seeded(9))
    shuffled = (out.X != batch.X).any(1)
    assert_mean(shuffled, 0.5)
    assert torch.equal(out.X.sort(1).values, batch.X.sort(1).values)
    z = [(v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True, correction=0) for v in (out.X, out.y)]
    correlation = (z[0] * z[1][..., None]).mean(1)[shuffled]
    assert_mean(correlation, 0.0)
    assert_mean(correlation.square(), 1 / 299)  # of two independent orders of 300 values


def test_discrete_columns_are_never_constant_and_reach_200_levels(seeded):
    most = 0
    for seed, n_rows in enumerate([24, 24, 24, 1_024, 1_024]):
        shown, effect, flags = discretise(torch.randn(200, n_rows, 10, generator=seeded(10 + seed)), seeded(20 + seed))
        assert not is_constant(shown).any() and not is_constant(effect).any()
        codes = shown.mT[flags]
        assert torch.equal(codes, codes.round()) and codes.min() >= 0
        most = max(most, int(codes.max()) + 1)
    assert 150 < most <= 200


def test_cuts_fall_where_the_shares_say(seeded):
    n_levels = torch.tensor([[2], [7], [50]])
    shares = level_shares(n_levels, torch.tensor([[0.0], [1.0], [1.5]]), seeded(30))
    assert_close(shares.sum(1), torch.ones(3))
    u = torch.rand(3, 40_000, generator=seeded(31))
    level = cut(u, shares, n_levels)
    assert (level.amax(1) < n_levels[:, 0]).all()
    seen = column_counts(level.float(), 50) / 40_000
    error = (seen - shares).abs() - 4 * (shares * (1 - shares) / 40_000).sqrt()
    assert error.max() < 1e-6


def test_some_numbers_are_codes_with_uneven_steps(seeded):
    shown, _, flags = discretise(torch.randn(300, 200, 8, generator=seeded(32)), seeded(33))
    unflagged = shown.mT[~flags]
    n_values = torch.tensor([len(column.unique()) for column in unflagged])
    few = unflagged[n_values <= 12]
    whole = (few == few.round()).all(1).double().mean()
    assert 0.4 < whole < 0.8
