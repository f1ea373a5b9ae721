"""Columns that the class drives keep what they are and tell the classes apart as strongly as asked."""

import pytest
import torch

from priors import MLPPrior, TaskBatch, TaskShape
from priors.class_effects import ClassEffects

ALL = {"several": 1.0, "two": 1.0, "columns": 1.0}


def labelled(seeded, n_classes, n_tasks=30, n_rows=400, n_features=6):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(1))
    X[:, ::7, 1] = torch.nan
    X[..., 2] = (X[..., 2] * 2).round().nan_to_num()
    X[..., 3] = (X[..., 3] > 0).float()
    y = torch.randint(n_classes, (n_tasks, n_rows), generator=seeded(2))
    categorical = torch.zeros(n_tasks, n_features, dtype=torch.bool)
    categorical[:, 3] = True
    return TaskBatch(X, y, n_rows // 2, categorical, torch.full((n_tasks,), n_classes))


def explained(batch):
    """(B, F) share of the variance of a column's ranks that lies between classes."""
    rank = batch.X.nan_to_num().argsort(1).argsort(1).double()
    member = torch.nn.functional.one_hot(batch.y, int(batch.n_classes.max())).double()
    means = torch.einsum("brc,brf->bcf", member, rank) / member.sum(1)[..., None]
    fitted = torch.einsum("brc,bcf->brf", member, means)
    return fitted.var(1) / rank.var(1)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_columns_keep_their_values_and_gaps(seeded, n_classes):
    batch = labelled(seeded, n_classes)
    out = ClassEffects(**ALL)(batch, seeded(3))
    assert torch.equal(out.X.isnan(), batch.X.isnan()) and torch.equal(out.y, batch.y)
    assert torch.equal(out.X.nan_to_num().sort(1).values, batch.X.nan_to_num().sort(1).values)
    assert float((out.X != batch.X).any(1).double().mean()) > 0.95


@pytest.mark.parametrize(("strength", "low", "high"), [(0.1, 0.01, 0.04), (1.0, 0.3, 0.55), (5.0, 0.65, 0.85)])
def test_the_share_between_classes_is_what_the_strength_says(seeded, strength, low, high):
    """At most s^2 / (1 + s^2), .01, .5 and .96, and .01 by chance: where a column knows one class from all others, or
    shares its direction, two classes may lie together."""
    out = ClassEffects(strength=(strength, strength), **ALL)(labelled(seeded, 5), seeded(4))
    assert low < float(explained(out)[:, [0, 4, 5]].mean()) < high


def test_a_shift_of_nothing_moves_nothing_but_equal_values(seeded):
    batch = labelled(seeded, 5)
    out = ClassEffects(strength=(1e-9, 1e-9), **ALL)(batch, seeded(5))
    assert torch.equal(out.X.nan_to_num(-9.0), batch.X.nan_to_num(-9.0))
    assert float(explained(out).mean()) == pytest.approx(4 / 399, rel=0.2)


def test_only_the_chosen_tasks_and_columns_move(seeded):
    numbers = MLPPrior(task="regression").sample(TaskShape(3, 40, 20, 4), seeded(6))
    assert ClassEffects(**ALL)(numbers, seeded(7)) is numbers
    two, several = labelled(seeded, 2, 400), labelled(seeded, 4, 400)
    effects = ClassEffects(several=0.6, two=0.0, columns=0.5)
    assert torch.equal(effects(two, seeded(8)).X.nan_to_num(), two.X.nan_to_num())
    moved = (effects(several, seeded(8)).X.nan_to_num() != several.X.nan_to_num()).any(1)
    of_tasks = moved.any(1).double().mean()
    assert abs(float(of_tasks) - 0.6 * (1 - 0.5**6)) < 0.1
    assert abs(float(moved.double().mean()) - 0.3) < 0.05


def test_strengths_out_of_order_are_refused():
    with pytest.raises(ValueError, match="strength must be a range"):
        ClassEffects(strength=(2.0, 1.0))
    with pytest.raises(ValueError, match="several must be a number in"):
        ClassEffects(several=1.5)
