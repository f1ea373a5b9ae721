"""Families and effects that a mixture holds where asked to: levels, spectra, drift, sharp labels, rare classes."""

from dataclasses import replace

import pytest
import torch

from priors import (
    LevelsPrior,
    MixturePrior,
    ShapeSampler,
    SpectraPrior,
    TableEffects,
    TargetConfig,
    TaskBatch,
    TaskShape,
)
from priors.drift import TimeDrift

CLEAN = {"missing": 0.0, "target": TargetConfig(noise=(0.01, 0.02), max_label_noise=0.0)}


def share_between(y, codes) -> float:
    """Share of the variance of y that lies between groups."""
    means = torch.zeros(int(codes.max()) + 1).scatter_reduce(0, codes, y, "mean", include_self=False)
    return float(means[codes].var() / y.var())


def test_levels_are_many_and_rare_and_each_has_its_own_effect(seeded):
    shares, rare = [], []
    for seed in range(10):
        batch = LevelsPrior(task="regression", **CLEAN).sample(TaskShape(8, 600, 400, 5), seeded(seed))
        for X, y, flags in zip(batch.X, batch.y, batch.is_categorical):
            y = y.argsort().argsort().float()
            widest = max(range(5), key=lambda j: len(X[:, j].unique()) if flags[j] else 0)
            codes = X[:, widest].round().clamp_min(0).long()
            counts = torch.bincount(codes)
            if not flags[widest] or (counts > 0).sum() < 10:
                continue
            rare.append(float((counts[counts > 0] < 30).float().mean()))
            by_chance = share_between(y[torch.randperm(600, generator=seeded(seed))], codes)
            shares.append(share_between(y, codes) - by_chance)
    assert len(shares) > 40 and sum(rare) / len(rare) > 0.5
    assert 0.15 < sum(shares) / len(shares) < 0.7


def test_spectra_have_few_factors_and_tell_their_classes(seeded):
    explained, found, chance = [], [], []
    target = TargetConfig(noise=(0.01, 0.02), max_label_noise=0.0, sharpness=(500, 1_000))
    for seed in range(12):
        prior = SpectraPrior(missing=0.0, target=target, max_factors=6)
        batch = prior.sample(TaskShape(4, 400, 300, 40), seeded(seed))
        for X, y, n_classes in zip(batch.X, batch.y, batch.n_classes):
            values = torch.linalg.svdvals(X - X.mean(0)).square()
            explained.append(float(values[:12].sum() / values.sum()))
            centre = torch.stack([X[:300][y[:300] == c].mean(0) for c in range(n_classes)])
            found.append(float((torch.cdist(X[300:], centre).argmin(1) == y[300:]).float().mean()))
            chance.append(float(torch.bincount(y[300:]).max() / 100))
    assert sum(explained) / len(explained) > 0.9
    assert sum(found) / len(found) > sum(chance) / len(chance) + 0.05


def plain(seeded, n_tasks=40, n_rows=400, classes=False) -> TaskBatch:
    X = torch.randn(n_tasks, n_rows, 3, generator=seeded(1))
    y = (X[..., 0] > 0).long() if classes else X[..., 0] + torch.randn(n_tasks, n_rows, generator=seeded(2))
    n_classes = torch.full((n_tasks,), 2) if classes else None
    return TaskBatch(X, y, 200, torch.zeros(n_tasks, 3, dtype=torch.bool), n_classes)


@pytest.mark.parametrize("classes", [False, True])
def test_no_drift_is_the_identity(classes, seeded):
    batch = plain(seeded, classes=classes)
    same = TimeDrift(strength=0.0)(batch, seeded(3))
    assert torch.equal(same.X, batch.X) and torch.equal(same.y, batch.y)


def test_queries_come_later_and_the_target_has_moved_on(seeded):
    batch = plain(seeded)
    moved = {}
    for strength in (0.2, 1.5):
        out = TimeDrift(strength=strength, shown=1.0)(batch, seeded(3))
        time = out.X[..., 2]
        assert (time[:, 200:].mean(1) > time[:, :200].mean(1) + 0.4).all()
        assert (time[:, :200].quantile(0.9, 1) < time[:, 200:].quantile(0.1, 1) + 0.1).all()
        moved[strength] = float((out.y_query.mean(1) - out.y_context.mean(1)).abs().mean())
    # Half the time lies between the middles of context and queries, and the mean of |N(0, 1)| is .8.
    assert abs(moved[1.5] - 0.4 * 1.5 * float(batch.y.std())) < 0.35
    assert moved[0.2] < 0.5 * moved[1.5]


def test_classes_that_gain_with_time_are_frequent_among_the_queries(seeded):
    batch = plain(seeded, classes=True)
    out = TimeDrift(strength=1.5)(batch, seeded(3))
    assert torch.equal(out.y.sort(1).values, batch.y.sort(1).values)
    gap = (out.y_query.float().mean(1) - out.y_context.float().mean(1)).abs().mean()
    none = (batch.y_query.float().mean(1) - batch.y_context.float().mean(1)).abs().mean()
    assert gap > none + 0.03


def test_sharp_labels_leave_nothing_to_chance(seeded):
    """Twice from the same outputs: the share of labels that differ is that of chance."""
    from priors.targets import class_target

    outputs = torch.randn(40, 300, 5, generator=seeded(0))

    def differ(sharpness) -> float:
        config = TargetConfig(noise=(1e-4, 2e-4), max_label_noise=0.0, sharpness=sharpness)
        y, n_classes = class_target(outputs, 200, config, seeded(1))
        best = outputs.argmax(-1)
        # Slots are shuffled: how well the labels are told by the largest output, whatever they are called.
        table = torch.zeros(40, 5, 10).index_put_(
            (torch.arange(40)[:, None].expand(40, 300), best, y), torch.ones(()), accumulate=True
        )
        return float(1 - (table.amax(2).sum(1) / 300)[n_classes == 5].mean())

    assert differ((1_000, 1_001)) < differ((2, 2.01))


def test_rare_classes_and_drift_are_effects_by_name(seeded):
    y = torch.randint(0, 2, (200, 1_000), generator=seeded(0))
    batch = TaskBatch(
        torch.randn(200, 1_000, 2, generator=seeded(1)), y, 500, torch.zeros(200, 2, dtype=bool), torch.full((200,), 2)
    )

    def rarest(**options) -> float:
        out = TableEffects(**options)(batch, seeded(2))
        share = out.y.float().mean(1)
        return float(torch.minimum(share, 1 - share).min())

    assert rarest(rarest=0.002) < 0.008 < rarest()
    plain = TableEffects()(batch, seeded(2)).X.nan_to_num()
    assert TableEffects(drift=0.0)(batch, seeded(2)).X.nan_to_num().equal(plain)
    assert not TableEffects(drift=1.0)(batch, seeded(2)).X.nan_to_num().equal(plain)
    with pytest.raises(ValueError, match="rarest must lie"):
        TableEffects(rarest=0.0)


def test_families_are_weighed_by_name():
    prior = MixturePrior(families={"rules": 1.4, "spectra": 1.0})
    weights = {type(part).__name__: weight for part, weight in zip(prior.components, prior.weights, strict=True)}
    assert weights["RulesPrior"] == 1.4 and weights["SpectraPrior"] == 1.0 and weights["SCMPrior"] == 3.0
    assert "LevelsPrior" not in weights
    with pytest.raises(ValueError, match="no family 'rule'; the families are additive"):
        MixturePrior(families={"rule": 1.0})


def test_columns_grow_with_the_curriculum():
    shapes = ShapeSampler(features=(2, 64), first_features=8, ramp_steps=100)
    assert [shapes.at_step(step).features[1] for step in (0, 50, 100)] == [8, 23, 64]
    with pytest.raises(ValueError, match="first_features"):
        ShapeSampler(features=(4, 64), first_features=2)


def test_no_task_has_more_cells_than_the_most(seeded):
    """Tall tasks and wide ones both occur; where nothing is too large, the shapes are those without the limit."""
    limited = ShapeSampler(n_cells=8_000, rows=(32, 2_048), features=(2, 64), mean_features=20.0, most_cells=20_480)
    free = replace(limited, most_cells=None)
    shapes = [(limited.sample(seeded(k)), free.sample(seeded(k))) for k in range(3_000)]
    assert max(a.n_rows * a.n_features for a, _ in shapes) <= 20_480
    assert all(a == b for a, b in shapes if b.n_rows * b.n_features <= 20_480)
    cut = [(a, b) for a, b in shapes if b.n_rows * b.n_features > 20_480]
    assert len(cut) > 300 and all(a.n_rows <= b.n_rows and a.n_features <= b.n_features for a, b in cut)
    tall, wide = (
        sum(held(a, b) for a, b in cut)
        for held in (lambda a, b: a.n_rows == b.n_rows, lambda a, b: a.n_features == b.n_features)
    )
    assert 0.35 < tall / len(cut) < 0.75 and 0.35 < wide / len(cut) < 0.75
    assert any(a.n_rows == 2_048 for a, _ in shapes) and any(a.n_features == 64 for a, _ in shapes)
    with pytest.raises(ValueError, match="most_cells"):
        ShapeSampler(rows=(32, 64), features=(2, 4), most_cells=60)
