"""Rates and moments of the noise transforms, against theory, within four standard errors."""

import math

import pytest
import scipy.stats
import torch

from priors import TaskBatch
from priors.noise import (
    CellOutliers,
    ClassConditionalLabelNoise,
    HeavyTailedNoise,
    HeteroskedasticNoise,
    InstanceDependentLabelNoise,
    MeasurementError,
    SymmetricLabelNoise,
    TargetOutliers,
)


def classes(seeded, n_tasks=40, n_rows=2_000, n_classes=3, n_features=4):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(1))
    y = torch.randint(0, n_classes, (n_tasks, n_rows), generator=seeded(2))
    no_flags = torch.zeros(n_tasks, n_features, dtype=torch.bool)
    return TaskBatch(X, y, n_rows // 2, no_flags, torch.full((n_tasks,), n_classes))


def numbers(seeded, n_tasks=40, n_rows=2_000, n_features=4):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(3))
    y = 5 + 2 * torch.randn(n_tasks, n_rows, generator=seeded(4))
    return TaskBatch(X, y, n_rows // 2, torch.zeros(n_tasks, n_features, dtype=torch.bool))


def assert_rate(hits, rate):
    n = hits.numel()
    assert abs(hits.double().mean() - rate) <= 4 * math.sqrt(rate * (1 - rate) / n)


def assert_mean(values, expected):
    values = values.double().flatten()
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("kind", [SymmetricLabelNoise, InstanceDependentLabelNoise])
def test_labels_flip_at_the_rate(kind, rate, seeded):
    batch = classes(seeded)
    assert_rate(kind(rate=rate)(batch, seeded(5)).y != batch.y, rate)


def test_symmetric_flips_go_to_every_other_class_alike(seeded):
    batch = classes(seeded, n_classes=5)
    noisy = SymmetricLabelNoise(rate=0.5)(batch, seeded(6)).y
    step = (noisy - batch.y)[noisy != batch.y] % 5
    for k in range(1, 5):
        assert_rate(step == k, 0.25)


def test_rates_drawn_per_task_have_the_mean_of_their_range(seeded):
    batch = classes(seeded, n_tasks=1_000, n_rows=200)
    flipped = (SymmetricLabelNoise(rate=(0.0, 0.4))(batch, seeded(7)).y != batch.y).double().mean(1)
    assert_mean(flipped, 0.2)
    assert flipped.std() > 0.1  # sqrt(.4^2 / 12) = .115: tasks differ, not only rows


def test_instance_dependent_flips_depend_on_the_row(seeded):
    """Flips of two independent noise draws coincide more often than rate^2 iff rows share a flip probability."""
    batch = classes(seeded, n_tasks=200, n_features=1)
    flips = [InstanceDependentLabelNoise(rate=0.2, strength=3.0)(batch, seeded(8 + k)).y != batch.y for k in (0, 1)]
    x = batch.X[..., 0]
    for flip in flips:
        # In each task the rate changes with x in one direction or the other.
        gap = (flip & (x > 0)).double().sum(1) / (x > 0).sum(1) - (flip & (x <= 0)).double().sum(1) / (x <= 0).sum(1)
        assert gap.abs().mean() > 0.1


def test_class_conditional_noise_follows_its_matrix(seeded):
    matrix = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.5, 0.5]]
    batch = classes(seeded)
    noisy = ClassConditionalLabelNoise(matrix=matrix)(batch, seeded(10)).y
    for i, row in enumerate(matrix):
        for j, p in enumerate(row):
            assert_rate(noisy[batch.y == i] == j, p)


def test_class_conditional_noise_without_a_matrix_has_its_mean_rate_and_unequal_classes(seeded):
    batch = classes(seeded, n_tasks=1_500, n_rows=200, n_classes=2)
    flipped = (ClassConditionalLabelNoise(rate=0.2)(batch, seeded(11)).y != batch.y).double()
    assert_mean(flipped.mean(1), 0.2)
    rates = [(flipped * (batch.y == c)).sum(1) / (batch.y == c).sum(1) for c in (0, 1)]
    # Two independent uniforms on [0, .4] differ by .4 / 3 on average; sampling adds a little.
    assert 0.12 < (rates[0] - rates[1]).abs().mean() < 0.16


def test_a_matrix_is_cut_to_the_classes_of_a_task(seeded):
    batch = classes(seeded, n_classes=2)
    noisy = ClassConditionalLabelNoise(matrix=[[0.6, 0.2, 0.2], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])(batch, seeded(12)).y
    assert noisy.max() == 1
    assert_rate(noisy[batch.y == 0] == 1, 0.25)


@pytest.mark.parametrize("rows", [[[1.0, 0.1], [0.0, 1.0]], [[1.0]] * 2, [[1.5, -0.5], [0.0, 1.0]]])
def test_matrices_that_are_no_probabilities_are_refused(rows):
    with pytest.raises(ValueError, match="rows that are probabilities"):
        ClassConditionalLabelNoise(matrix=rows)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_heteroskedastic_noise_adds_the_variance_asked_for(strength, seeded):
    batch = numbers(seeded)
    added = HeteroskedasticNoise(std=0.5, strength=strength)(batch, seeded(13)).y - batch.y
    assert_mean(added.square() / batch.y.var(1, keepdim=True, correction=0), 0.25)
    # Kurtosis of a scale mixture, log scale ~ N(0, s^2): 3 exp(4 s^2); cut at four standard errors of s = 0.
    kurtosis = added.double().pow(4).mean() / added.double().square().mean() ** 2
    assert (kurtosis > 10) if strength else abs(kurtosis - 3) < 4 * math.sqrt(24 / added.numel())


@pytest.mark.parametrize("tail", [1.0, 3.0])
def test_student_noise_has_its_tail(tail, seeded):
    batch = numbers(seeded, n_tasks=100)
    added = HeavyTailedNoise(scale=0.7, tail=tail)(batch, seeded(14)).y - batch.y
    t = added / batch.y.std(1, keepdim=True, correction=0) / 0.7
    for at in (1.0, 5.0, 20.0):
        assert_rate(t.abs() > at, 2 * scipy.stats.t.sf(at, tail))


@pytest.mark.parametrize("tail", [1.5, 4.0])
def test_pareto_noise_has_its_tail_on_one_side(tail, seeded):
    batch = numbers(seeded, n_tasks=100)
    added = HeavyTailedNoise(scale=0.7, tail=tail, shape="pareto")(batch, seeded(15)).y - batch.y
    t = added / batch.y.std(1, keepdim=True, correction=0) / 0.7
    for at in (0.5, 2.0, 10.0):
        assert_rate(t.abs() > at, scipy.stats.lomax.sf(at, tail))
    assert (t.mean(1, keepdim=True).sign() * t).min() > -1e-4


def test_target_outliers_have_their_rate_and_distance(seeded):
    batch = numbers(seeded)
    moved = TargetOutliers(rate=0.05, distance=4.0)(batch, seeded(16)).y - batch.y
    assert_rate(moved != 0, 0.05)
    away = moved.abs() / batch.y.std(1, keepdim=True, correction=0)
    assert_mean(away[moved != 0], 8.0)
    assert away[moved != 0].min() > 3.99


def test_cell_outliers_have_their_rate_and_distance_and_spare_codes_and_gaps(seeded):
    batch = numbers(seeded)
    batch.X[:, :10] = torch.nan
    batch.is_categorical[:, 0] = True
    dirty = CellOutliers(rate=0.05, distance=4.0)(batch, seeded(17)).X
    assert torch.equal(dirty.isnan(), batch.X.isnan())
    assert torch.equal(dirty[:, 10:, 0], batch.X[:, 10:, 0])
    moved = (dirty - batch.X)[:, 10:, 1:]
    assert_rate(moved != 0, 0.05)
    away = moved.abs() / batch.X[:, 10:, 1:].std(1, keepdim=True, correction=0)
    assert_mean(away[moved != 0], 8.0)


def test_measurement_error_adds_its_variance_and_the_target_does_not_know(seeded):
    batch = numbers(seeded)
    noisy = MeasurementError(std=0.5)(batch, seeded(18))
    error = (noisy.X - batch.X) / batch.X.std(1, keepdim=True, correction=0)
    assert_mean(error.square(), 0.25)
    assert_mean(error, 0.0)
    assert_mean(error[..., 0] * (batch.y - 5), 0.0)


def test_a_share_of_the_columns_suffers(seeded):
    batch = numbers(seeded, n_tasks=500, n_rows=20, n_features=10)
    touched = (MeasurementError(std=0.5, columns=0.3)(batch, seeded(19)).X != batch.X).any(1)
    assert_rate(touched, 0.3)
