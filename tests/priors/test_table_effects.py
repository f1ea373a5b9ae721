"""Rates and moments of what turns clean columns into tables, against what was asked for."""

import math

import pytest
import torch

from priors import FunctionPrior, SCMPrior, ShapeSampler, TargetConfig, TaskShape
from priors.columns import discretise
from priors.draw import log_uniform, student_t
from priors.missing import mask_cells
from priors.targets import class_target
from priors.tree import draw_trees


def test_student_t_has_the_variance_of_its_degrees_of_freedom(seeded):
    n, df = 200_000, 8.0
    draws = student_t(torch.tensor(df), (n,), seeded(0))
    squares = draws.square()
    assert abs(squares.mean() - df / (df - 2)) < 4 * squares.std() / math.sqrt(n)


def test_log_uniform_is_uniform_in_the_log(seeded):
    draws = log_uniform(0.01, 1.0, (50_000,), seeded(0)).log()
    assert abs(draws.mean() - math.log(0.1)) < 4 * (math.log(100) / math.sqrt(12)) / math.sqrt(50_000)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_tasks_with_missing_cells(share, seeded):
    n = 3_000
    X = torch.randn(n, 60, 8, generator=seeded(1))
    affected = mask_cells(X, seeded(2), share).isnan().flatten(1).any(1).double().mean()
    # An affected task may draw rates so low that no cell goes missing: at most that many fewer.
    assert affected <= share + 4 * math.sqrt(share * (1 - share) / n)
    assert affected >= 0.85 * share


def test_missingness_only_blanks(seeded):
    X = torch.randn(50, 30, 4, generator=seeded(1))
    masked = mask_cells(X, seeded(2), 1.0)
    assert torch.equal(masked[~masked.isnan()], X[~masked.isnan()])


def test_missingness_at_random_follows_another_column_and_not_at_random_the_value(seeded):
    """With many tasks, missing cells differ from the others in mean where the mechanism says so."""
    X = torch.randn(2_000, 200, 2, generator=seeded(3))
    masked = mask_cells(X, seeded(4), 1.0).isnan()
    counts = masked.sum(1)
    usable = (counts > 20) & (counts < 180)
    gap = (X * masked).sum(1) / counts.clamp_min(1) - (X * ~masked).sum(1) / (200 - counts).clamp_min(1)
    spread = gap[usable].abs().mean()
    # Completely at random alone would give about sqrt(2 / pi) times a standard error of ~ .2.
    assert spread > 0.25


def test_discrete_columns_hold_few_levels_and_effects_follow_codes(seeded):
    Z = torch.randn(200, 100, 5, generator=seeded(5))
    shown, effect, is_categorical = discretise(Z, seeded(6))
    assert is_categorical.any() and not is_categorical.all()
    numeric = (shown == Z).all(1)
    assert numeric.any() and not (numeric & is_categorical).any()
    assert torch.equal(effect[numeric[:, None].expand_as(Z)], Z[numeric[:, None].expand_as(Z)])
    for task, column in (~numeric).nonzero()[:50].tolist():
        pairs = torch.stack([shown[task, :, column], effect[task, :, column]], 1).unique(dim=0)
        assert len(pairs) == len(pairs[:, 0].unique()) <= 200  # one effect per code


def test_class_shares_reach_down_to_one_per_cent(seeded):
    config = TargetConfig(noise=(0.01, 0.02), max_label_noise=0.0)
    y, n_classes = class_target(torch.randn(4_000, 400, 1, generator=seeded(7)), 300, config, seeded(8))
    binary = n_classes == 2
    share = y[binary].double().mean(1)
    minority = torch.minimum(share, 1 - share)
    assert 0.4 < binary.double().mean() < 0.65
    assert (minority < 0.03).double().mean() > 0.05
    assert (minority > 0.3).double().mean() > 0.2


def test_labels_are_names_so_slots_are_exchangeable(seeded):
    y, n_classes = class_target(torch.randn(3_000, 50, 4, generator=seeded(9)), 40, TargetConfig(), seeded(10))
    share = y[n_classes == 2].double().mean(1)
    assert abs(share.mean() - 0.5) < 4 * share.std() / math.sqrt(len(share))


def test_trees_are_constant_between_thresholds(seeded):
    V = torch.randn(20, 200, 3, generator=seeded(11))
    outputs = draw_trees(V, 2, seeded(12), max_trees=1)
    for task in range(20):
        assert len(outputs[task].unique(dim=0)) <= 2**6


def test_trees_ignore_the_units_of_a_column(seeded):
    V = torch.randn(4, 50, 3, generator=seeded(13))
    assert torch.equal(draw_trees(V, 1, seeded(14)), draw_trees(V.exp(), 1, seeded(14)))


@pytest.mark.parametrize("prior", [SCMPrior(), FunctionPrior()])
def test_targets_depend_on_the_features(prior, seeded):
    """Across tasks, a nearest-neighbour vote beats the majority class clearly: the tables can be learnt from."""
    batch = prior.sample(TaskShape(300, 200, 150, 4), seeded(15))
    X = batch.X.nan_to_num()
    X = (X - X.mean(1, keepdim=True)) / X.std(1, keepdim=True).clamp_min(1e-6)
    nearest = torch.cdist(X[:, 150:], X[:, :150]).topk(7, largest=False).indices
    votes = batch.y_context.gather(1, nearest.flatten(1)).view_as(nearest).mode(-1).values
    accuracy = (votes == batch.y_query).double().mean(1)
    majority = torch.stack([(batch.y_query == c).double().mean(1) for c in range(10)]).max(0).values
    gain = accuracy - majority
    assert gain.mean() > 4 * gain.std() / math.sqrt(300)


def test_shapes_stay_in_range_and_few(seeded):
    sampler, generator = ShapeSampler(), seeded(16)
    shapes = [sampler.sample(generator) for _ in range(2_000)]
    assert all(32 <= s.n_rows <= 512 and 2 <= s.n_features <= 50 for s in shapes)
    assert all(s.n_cells <= 6_000 or s.n_tasks == 1 for s in shapes)
    share = torch.tensor([s.n_context / s.n_rows for s in shapes])
    assert share.min() > 0.2 and share.max() < 0.95
    assert len(set(shapes)) < 600
    with pytest.raises(ValueError, match="rows"):
        ShapeSampler(rows=(4, 100))
