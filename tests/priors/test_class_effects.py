"""Columns that the class drives keep what they are and tell the classes apart as strongly as asked."""

from dataclasses import replace

import pytest
import torch

from priors import MLPPrior, TaskBatch, TaskShape
from priors.class_effects import ClassEffects

ALL = {"several": 1.0, "two": 1.0, "columns": 1.0}


def labelled(seeded, n_classes, n_tasks=30, n_rows=400, n_features=6, gaps=0.0):
    X = torch.randn(n_tasks, n_rows, n_features, generator=seeded(1))
    X[:, ::7, 1] = torch.nan
    X[..., 2] = (X[..., 2] * 2).round().nan_to_num()
    X[..., 3] = (X[..., 3] > 0).float()
    X[..., 4:] = X[..., 4:].masked_fill(torch.rand(X[..., 4:].shape, generator=seeded(9)) < gaps, torch.nan)
    y = torch.randint(n_classes, (n_tasks, n_rows), generator=seeded(2))
    categorical = torch.zeros(n_tasks, n_features, dtype=torch.bool)
    categorical[:, 3] = True
    return TaskBatch(X, y, n_rows // 2, categorical, torch.full((n_tasks,), n_classes))


def explained(batch):
    """(B, F) share of the variance of what a column holds that lies between classes."""
    seen = ~batch.X.isnan()
    mean = (batch.X.nan_to_num().sum(1) / seen.sum(1))[:, None]
    centred = (batch.X - mean).nan_to_num().double()
    member = torch.nn.functional.one_hot(batch.y, int(batch.n_classes.max())).double()
    count = torch.einsum("brc,brf->bcf", member, seen.double()).clamp_min(1)
    means = torch.einsum("brc,brf->bcf", member, centred) / count
    return (count * means.square()).sum(1) / centred.square().sum(1)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_columns_keep_their_values_and_gaps(seeded, n_classes):
    batch = labelled(seeded, n_classes)
    out = ClassEffects(**ALL)(batch, seeded(3))
    assert torch.equal(out.X.isnan(), batch.X.isnan()) and torch.equal(out.y, batch.y)
    assert torch.equal(out.X.nan_to_num().sort(1).values, batch.X.nan_to_num().sort(1).values)
    assert float((out.X != batch.X).any(1).double().mean()) > 0.95


@pytest.mark.parametrize("gaps", [0.0, 0.5, 0.8])
@pytest.mark.parametrize(("strength", "low", "high"), [(0.3, 0.045, 0.07), (1.0, 0.33, 0.45), (5.0, 0.65, 0.85)])
def test_the_share_between_classes_is_what_the_strength_says(seeded, strength, low, high, gaps):
    """At most s^2 / (1 + s^2), .08, .5 and .96, and .01 by chance (.05 in a fifth of the cells): where a column knows
    one class from all others, or shares its direction, two may lie together. Gaps change nothing of it."""
    batch = labelled(seeded, 5, n_tasks=120, gaps=gaps)
    before = float(explained(batch)[:, 4:].mean())
    assert before < 0.06
    out = ClassEffects(strength=(strength, strength), **ALL)(batch, seeded(4))
    share = float(explained(out)[:, 4:].mean())
    # What chance explains of the rest is no work of the shifts.
    assert low < (share - before) / (1 - before) < high


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_a_task_is_moved_alike_whatever_is_in_its_batch(seeded, n_classes):
    """A column that marks one class marks one that the task has: with tasks of ten classes beside it, too."""
    effects = ClassEffects(strength=(5.0, 5.0), **ALL)

    def moved(beside):
        batch = labelled(seeded, n_classes, n_tasks=200)
        batch = replace(batch, n_classes=torch.cat([batch.n_classes[:-1], torch.tensor([beside])]))
        return float(explained(effects(batch, seeded(4)))[:-1, 4:].mean())

    assert moved(10) == pytest.approx(moved(n_classes), abs=0.03)


def test_equal_values_change_places_alike_in_whatever_order_rows_come(seeded):
    """A column of zeros and ones: were zeros told apart by their place, rows sorted by class would move twice as far
    where the shift goes with the order, and not at all where it goes against it."""
    batch = labelled(seeded, 2, n_tasks=400)
    effects = ClassEffects(strength=(0.3, 0.3), **ALL)
    sorted_rows = replace(batch, y=batch.y.sort(1).values)
    moved, expected = (float(explained(effects(b, seeded(5)))[:, 3].mean()) for b in (sorted_rows, batch))
    assert 0.02 < expected < 0.1
    assert moved == pytest.approx(expected, rel=0.25)


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
    for strength in ((2.0, 1.0), 0.5, (1.0,), (0.1, 1.0, 2.0), (1.0, torch.inf), (0.0, 1.0)):
        with pytest.raises(ValueError, match="strength must be a range"):
            ClassEffects(strength=strength)
    with pytest.raises(ValueError, match="several must be a number in"):
        ClassEffects(several=1.5)
