"""What happens to targets: rounding, censoring, counts, zeros, bounds and level effects, against theory."""

import math

import pytest
import torch

from priors import MLPPrior, TargetConfig, TaskBatch, TaskShape
from priors.targets import (
    BoundedTarget,
    CensoredTarget,
    CountTarget,
    LevelEffects,
    RoundedTarget,
    ZeroInflatedTarget,
    class_target,
    order_rows,
)


def numbers(seeded, n_tasks=200, n_rows=1_000):
    X = torch.randn(n_tasks, n_rows, 2, generator=seeded(1))
    y = 100 + 7 * torch.randn(n_tasks, n_rows, generator=seeded(2))
    return TaskBatch(X, y, n_rows // 2, torch.zeros(n_tasks, 2, dtype=torch.bool))


def assert_mean(values, expected, slack=0.0):
    values = values.double().flatten()
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values)) + slack


def test_rounding_adds_sheppards_variance(seeded):
    batch = numbers(seeded)
    out = RoundedTarget(step=0.4)(batch, seeded(3)).y
    step = 0.4 * batch.y.std(1, keepdim=True, correction=0)
    assert ((out / step) - (out / step).round()).abs().max() < 1e-3
    assert_mean(((out - batch.y) / step).square(), 1 / 12)
    assert_mean((out - batch.y) / step, 0.0)


@pytest.mark.parametrize(("lower", "upper"), [(0.2, 0.0), (0.0, 0.1), (0.3, 0.4)])
def test_censoring_moves_exactly_the_shares_to_the_bounds(lower, upper, seeded):
    batch = numbers(seeded, n_tasks=20)
    out = CensoredTarget(lower=lower, upper=upper)(batch, seeded(4)).y
    for share, bound in ((lower, out.amin(1, keepdim=True)), (upper, out.amax(1, keepdim=True))):
        assert ((out == bound).sum(1) == max(1, round(share * 1_000))).all()
    inside = (out > out.amin(1, keepdim=True)) & (out < out.amax(1, keepdim=True))
    assert torch.equal(out[inside], batch.y[inside])


@pytest.mark.parametrize("dispersion", [0.0, 0.5])
def test_counts_have_their_mean_and_variance(dispersion, seeded):
    """Without dependence on y a count has mean m and variance m + dispersion m^2."""
    count = CountTarget(mean=6.0, strength=0.0, dispersion=dispersion)(numbers(seeded), seeded(5)).y
    assert torch.equal(count, count.round()) and count.min() >= 0
    assert_mean(count, 6.0)
    assert_mean((count - 6.0).square(), 6.0 + dispersion * 36)


def test_counts_follow_the_clean_target_at_a_rate_linear_in_the_log(seeded):
    batch = numbers(seeded)
    count = CountTarget(mean=3.0, strength=0.8, dispersion=0.0)(batch, seeded(6)).y
    assert_mean(count.mean(1), 3.0)
    z = (batch.y - batch.y.mean(1, keepdim=True)) / batch.y.std(1, keepdim=True, correction=0)
    # exp(s z) tilts a standard normal to mean s, so the count-weighted mean of z is s.
    assert_mean((count * z).mean(1) / count.mean(1), 0.8, slack=0.003)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_zero_inflation_has_its_share(strength, seeded):
    batch = numbers(seeded)
    out = ZeroInflatedTarget(rate=0.35, strength=strength)(batch, seeded(7)).y
    assert out.min() == 0
    zero = out == 0
    # The minimum is zero whether it was hit or not.
    assert_mean(zero, 0.35, slack=1 / 1_000)
    low = batch.y < batch.y.mean(1, keepdim=True)
    gap = zero[low].double().mean() - zero[~low].double().mean()
    assert (gap > 0.2) if strength else abs(gap) < 4 * math.sqrt(4 * 0.35 * 0.65 / zero.numel()) + 1e-3


def test_bounds_are_kept_in_the_order_of_the_target(seeded):
    batch = numbers(seeded)
    out = BoundedTarget(low=-1.0, high=3.0, slope=2.0)(batch, seeded(8)).y
    assert out.min() >= -1 and out.max() <= 3
    assert_mean(out.mean(1), 1.0)  # the middle, by symmetry
    order = batch.y.argsort(1)
    assert out.gather(1, order).diff(dim=1).min() >= 0


def test_level_effects_add_their_variance_between_levels_only(seeded):
    batch = numbers(seeded, n_tasks=2_000, n_rows=300)
    batch.X[..., 1] = torch.randint(0, 20, (2_000, 300), generator=seeded(9)).float()
    batch.X[:, :5, 1] = torch.nan
    batch.is_categorical[:1_000, 1] = True
    added = LevelEffects(std=0.5)(batch, seeded(10)).y - batch.y
    assert (added[1_000:] == 0).all()  # no categorical column, no effect
    added, code = added[:1_000], batch.X[:1_000, :, 1].nan_to_num(nan=20.0).long()
    variance = batch.y[:1_000].var(1, correction=0)
    assert_mean(added.square().mean(1) / variance, 0.25)
    first = torch.stack([torch.where(code == k, added, -torch.inf).amax(1) for k in range(21)], 1)
    assert (first.gather(1, code) - added).abs().max() < 1e-3  # one effect per level, up to rounding


@pytest.mark.parametrize(
    "transform", [RoundedTarget(step=10.0), CensoredTarget(lower=0.5, upper=0.49), CountTarget(mean=0.01)]
)
def test_no_target_becomes_constant(transform, seeded):
    out = transform(numbers(seeded, n_tasks=300, n_rows=10), seeded(11)).y
    assert (out.amax(1) > out.amin(1)).all()


def test_flipped_labels_stay_inside_their_classes(seeded):
    config = TargetConfig(max_label_noise=1.0)
    y, n_classes = class_target(torch.randn(500, 60, 10, generator=seeded(12)), 40, config, seeded(13))
    assert (y < n_classes[:, None]).all() and y.min() == 0


def test_one_row_of_each_class_comes_first(seeded):
    y = torch.randint(0, 5, (200, 50), generator=seeded(14))
    y[:, :5] = torch.arange(5)
    order = order_rows(y, torch.full((200,), 5), 10, seeded(15))
    assert torch.equal(y.gather(1, order)[:, :5].sort(1).values, torch.arange(5).expand(200, 5))
    assert torch.equal(order.sort(1).values, torch.arange(50).expand(200, 50))


def labels_of(seeded, n_outputs=5, n_tasks=300, **options):
    """Labels of tasks whose outputs are independent given the columns, and their numbers of classes."""
    outputs = torch.randn(n_tasks, 400, n_outputs, generator=seeded(1))
    return class_target(outputs, 200, TargetConfig(max_classes=5, sharpness=(1e3, 1e3), **options), seeded(2)), outputs


def are_ranges(y, output):
    """(B,) whether the classes are ranges of the output: sorted by it, labels change as often as there are classes."""
    sorted_y = y.gather(1, output.argsort(1))
    return (sorted_y[:, 1:] != sorted_y[:, :-1]).sum(1) < 0.1 * y.shape[1]


@pytest.mark.parametrize("ordered", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.55, 0.3), (0.2, 0.8)])
def test_classes_are_ranges_of_the_first_output_in_the_share_asked_for(seeded, ordered):
    """Over batches of two outputs and of five, as many of each: `TablePrior` draws them alike often."""
    kinds = []
    for n_outputs in (2, 5):
        (y, n_classes), outputs = labels_of(
            seeded, n_outputs, 3_000, ordered=ordered, noise=(1e-4, 1e-4), max_label_noise=0.0, offsets=(0.0, 0.0)
        )
        kinds.append(torch.stack([n_classes > 2, are_ranges(y, outputs[..., 0])], 1))
    several, ranged = torch.cat(kinds).unbind(1)
    assert_mean(several.float(), 0.5)
    for group, share in ((~several, ordered[0]), (several, ordered[1])):
        found = ranged[group].float()
        assert abs(float(found.mean()) - share) < 4 * (0.25 / len(found)) ** 0.5


def test_a_prior_draws_as_many_tasks_of_many_classes_as_it_says(seeded):
    """Binary are half, and what lost a class: a fifth of the others at most."""
    prior = MLPPrior(task="classification", target=TargetConfig(max_label_noise=0.0, offsets=(0.0, 0.0)))
    batches = [prior.sample(TaskShape(16, 160, 120, 4), seeded(seed)) for seed in range(80)]
    n_classes = torch.cat([batch.n_classes for batch in batches])
    assert 0.45 < float((n_classes == 2).float().mean()) < 0.6
    # Three to ten alike often: a class of one output of ten that no row falls into moves a task down by one.
    assert float((n_classes >= 7).float().mean()) > 0.15


def test_offsets_make_classes_uneven(seeded):
    """Alike in size without them; the larger they are, the rarer the rarest is."""
    rarest, spread = [], []
    for offsets in ((0.0, 0.0), (0.5, 0.5), (2.0, 2.0), (0.0, 2.0)):
        (y, n_classes), _ = labels_of(seeded, n_tasks=900, ordered=(0.0, 0.0), offsets=offsets, max_label_noise=0.0)
        counts = torch.nn.functional.one_hot(y, 5).sum(1) / y.shape[1]
        share = torch.stack([c[:k].min() * k for c, k in zip(counts, n_classes)])
        rarest.append(float(share.median()))
        spread.append(float((share > 0.6).float().mean()))
    assert rarest[0] > 0.85 and 0.3 < rarest[1] < 0.75 and rarest[2] < 0.2
    # A range holds both: even classes, which its upper end alone hardly makes, and uneven ones.
    assert spread[2] < 0.12 and spread[2] + 0.05 < spread[3] < 0.4


@pytest.mark.parametrize("ordered", [(0.5, 1.5), (0.5,), (0.1, 0.2, 0.3), ()])
def test_shares_out_of_range_are_refused(ordered):
    with pytest.raises(ValueError, match="ordered must be two shares"):
        TargetConfig(ordered=ordered)


@pytest.mark.parametrize("name", ["noise", "sharpness", "offsets"])
@pytest.mark.parametrize(
    "value", [(1.0, 0.5), (1.0,), (0.0, 1.0, 2.0), (0.5, math.inf), (math.nan, 1.0), 0.5, (-1.0, 1.0)]
)
def test_what_is_no_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"TargetConfig: {name} must be a range"):
        TargetConfig(**{name: value})
