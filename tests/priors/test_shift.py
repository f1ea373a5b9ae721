"""Shift between context and query: what moves, by how much, and the conditional law that must stay."""

import math

import pytest
import torch

from priors import TaskBatch
from priors.shift import ClassImbalance, CovariateShift, LabelShift


def regression(seeded, n_tasks=200, n_rows=1_000, n_context=500):
    """y = x + noise, one column, so that the random direction is that column up to its sign."""
    x = torch.randn(n_tasks, n_rows, generator=seeded(1))
    y = x + torch.randn(n_tasks, n_rows, generator=seeded(2))
    return TaskBatch(x[..., None], y, n_context, torch.zeros(n_tasks, 1, dtype=torch.bool))


def classification(seeded, n_tasks=200, n_rows=1_000, n_context=500, n_classes=3):
    y = torch.randint(0, n_classes, (n_tasks, n_rows), generator=seeded(3))
    X = y[..., None] + torch.randn(n_tasks, n_rows, 2, generator=seeded(4))
    no_flags = torch.zeros(n_tasks, 2, dtype=torch.bool)
    return TaskBatch(X, y, n_context, no_flags, torch.full((n_tasks,), n_classes))


def tilted_mean(strength, share):
    """Mean of a standard normal score in a context of `share` chosen by Gumbel keys, many rows: by quadrature.

    A row with score z is chosen if strength z + Gumbel > t, so with probability 1 - exp(-exp(strength z - t)).
    """
    z = torch.linspace(-9, 9, 20_001, dtype=torch.double)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    low, high = -50.0, 50.0
    for _ in range(100):
        t = (low + high) / 2
        chosen = -torch.expm1(-torch.exp(strength * z - t))
        low, high = (t, high) if (density * chosen).sum() > share else (low, t)
    return float((density * chosen * z).sum() / share)


def assert_zero(per_task):
    assert abs(per_task.mean()) < 4 * per_task.std() / math.sqrt(len(per_task))


@pytest.mark.parametrize("shift", [CovariateShift, LabelShift])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_context_moves_as_far_as_theory_says(shift, strength, seeded):
    batch = regression(seeded)
    score = batch.X[..., 0] if shift is CovariateShift else batch.y
    score = (score - score.mean(1, keepdim=True)) / score.std(1, keepdim=True, correction=0)
    batch = TaskBatch(batch.X, score if shift is LabelShift else batch.y, 500, batch.is_categorical)
    out = shift(strength=strength)(batch, seeded(5))
    moved = out.y_context if shift is LabelShift else out.X[:, :500, 0] - batch.X[..., 0].mean(1, keepdim=True)
    moved = moved.mean(1) / (1 if shift is LabelShift else batch.X[..., 0].std(1, correction=0))
    expected = tilted_mean(strength, 0.5)
    # Scores are centred, so a task in whose direction the sign is negative moves the other way by as much.
    assert abs(moved.abs().mean() - expected) < 4 * moved.abs().std() / math.sqrt(len(moved)) + 0.003


@pytest.mark.parametrize("shift", [CovariateShift, LabelShift, ClassImbalance])
def test_rows_stay_whole(shift, seeded):
    """Every (x, y) pair that comes out went in; the shifts are permutations."""
    batch = classification(seeded, n_tasks=5)
    out = shift()(batch, seeded(6))
    for b in range(5):
        before = {tuple(row) for row in torch.cat([batch.X[b], batch.y[b, :, None].float()], 1).tolist()}
        after = [tuple(row) for row in torch.cat([out.X[b], out.y[b, :, None].float()], 1).tolist()]
        assert set(after) <= before
        if shift is not ClassImbalance:
            assert set(after) == before


def test_covariate_shift_keeps_y_given_x(seeded):
    out = CovariateShift(strength=2.0)(regression(seeded), seeded(7))
    residual = out.y - out.X[..., 0]
    for part in (residual[:, :500], residual[:, 500:]):
        assert_zero(part.mean(1))
        assert_zero(part.square().mean(1) - 1)
    # ... while y alone has moved.
    assert (out.y_context.mean(1) - out.y_query.mean(1)).abs().mean() > 0.5


def test_label_shift_keeps_x_given_y(seeded):
    out = LabelShift(strength=2.0)(classification(seeded), seeded(8))
    residual = out.X[..., 0] - out.y
    for part in (residual[:, :500], residual[:, 500:]):
        assert_zero(part.mean(1))
        assert_zero(part.square().mean(1) - 1)
    share = torch.stack([(out.y_context == c).double().mean(1) - (out.y_query == c).double().mean(1) for c in range(3)])
    assert share.abs().mean() > 0.2


def test_label_shift_of_two_classes_has_its_odds(seeded):
    """In a context small against the table, the odds of a class are multiplied by exp(strength (score1 - score0))."""
    batch = classification(seeded, n_tasks=400, n_rows=4_000, n_context=40, n_classes=2)
    out = LabelShift(strength=0.5)(batch, seeded(9))
    # sigmoid(d) with d ~ N(0, .5^2 * 2), plus binomial noise, has mean square distance from 1/2 of about:
    d = 0.5 * math.sqrt(2) * torch.randn(200_000, generator=seeded(10))
    p = torch.sigmoid(d)
    expected = ((p - 0.5).square() + p * (1 - p) / 40).mean()
    seen = (out.y_context.double().mean(1) - 0.5).square()
    assert abs(seen.mean() - expected) < 4 * seen.std() / math.sqrt(len(seen))


@pytest.mark.parametrize("shift", [CovariateShift(strength=20.0), LabelShift(strength=20.0)])
def test_the_strongest_shift_leaves_every_class_in_the_context(shift, seeded):
    batch = classification(seeded, n_tasks=300, n_rows=30, n_context=10, n_classes=5)
    batch.y[:, :5] = torch.arange(5)
    out = shift(batch, seeded(11))
    for c in range(5):
        assert (out.y_context == c).any(1).all()


@pytest.mark.parametrize("shift", [CovariateShift(strength=3.0), LabelShift(strength=3.0)])
def test_order_inside_context_and_query_stays(shift, seeded):
    batch = regression(seeded, n_tasks=20, n_rows=100, n_context=40)
    rank = torch.arange(100.0).expand(20, 100)[..., None]
    batch = TaskBatch(torch.cat([batch.X, rank], 2), batch.y, 40, torch.zeros(20, 2, dtype=torch.bool))
    out = shift(batch, seeded(12)).X[..., 1]
    assert (out[:, :40].diff(dim=1) > 0).all() and (out[:, 40:].diff(dim=1) > 0).all()


@pytest.mark.parametrize("share", [0.0113, 0.1003])
def test_a_class_gets_the_share_asked_for(share, seeded):
    out = ClassImbalance(share=share)(classification(seeded), seeded(13))
    counts = torch.stack([(out.y == c).double().mean(1) for c in range(3)])
    rarest = counts.min(0).values
    assert abs(rarest.mean() - share) < 4 * rarest.std() / math.sqrt(len(rarest))
    assert abs(rarest.std()) < 0.002  # of every task, not on average only
    which = counts.argmin(0)
    assert min((which == c).sum() for c in range(3)) > 30


def test_a_rare_class_keeps_its_law_and_a_context_row_and_no_query_copies_the_context(seeded):
    batch = classification(seeded, n_tasks=300, n_rows=60, n_context=30, n_classes=2)
    out = ClassImbalance(share=0.01)(batch, seeded(14))
    for c in (0, 1):
        assert (out.y_context == c).any(1).all()
    assert_zero((out.X[..., 0] - out.y).mean(1))
    copies = (out.X[:, :30, None, 0] == out.X[:, None, 30:, 0]).any()
    assert not copies


def test_classes_that_are_rarer_already_stay(seeded):
    batch = classification(seeded)
    out = ClassImbalance(share=0.9)(batch, seeded(15))
    assert torch.equal(out.X, batch.X) and torch.equal(out.y, batch.y)
