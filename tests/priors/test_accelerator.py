"""The ways that priors take on an accelerator, taken on a CPU: the same tables in law, and few waits of the host."""

import pytest
import torch

from benchmarks.operations import counted
from priors import MixturePrior, TaskShape, draw
from priors.draw import apply_by_kind, nothing_in
from priors.mechanisms import ACTIVATIONS
from priors.transform import is_constant

TASKS = ("classification", "regression")


@pytest.fixture
def as_accelerator(monkeypatch):
    monkeypatch.setattr(draw, "AS_ACCELERATOR", True)


def test_both_ways_apply_the_same_functions(seeded, monkeypatch):
    values = torch.randn(6, 5, 40, generator=seeded(0))
    kind = torch.randint(len(ACTIVATIONS) + 2, (6, 5), generator=seeded(1))  # some kinds have no function
    by_index = apply_by_kind(values, kind, ACTIVATIONS)
    monkeypatch.setattr(draw, "AS_ACCELERATOR", True)
    by_mask = apply_by_kind(values, kind, ACTIVATIONS)
    assert torch.allclose(by_index, by_mask, equal_nan=True) and not torch.equal(by_mask, values)


def test_both_ways_find_the_same_constant_columns(seeded, monkeypatch):
    X = torch.randn(4, 30, 6, generator=seeded(0)).round()
    X[0, :, 1], X[1, :, 2], X[2, 3:, 0], X[3, :, 4] = 2.0, torch.nan, torch.nan, 1.0
    X[3, 20, 4] = 5.0
    asked = is_constant(X)
    monkeypatch.setattr(draw, "AS_ACCELERATOR", True)
    assert torch.equal(is_constant(X), asked) and asked.sum() == 2


def test_an_accelerator_is_never_asked_whether_a_mask_is_empty(as_accelerator):
    assert not nothing_in(torch.zeros(3, dtype=torch.bool))


@pytest.mark.parametrize("task", TASKS)
def test_tables_are_usable(task, seeded, as_accelerator):
    for seed in range(10):
        batch = MixturePrior(task=task).sample(TaskShape(4, 60, 40, 6), seeded(seed))
        assert not batch.X.isinf().any() and batch.y.isfinite().all()
        assert batch.y.ne(batch.y[:, :1]).any(1).all()
        if batch.n_classes is not None:
            for y_context, y, n_classes in zip(batch.y_context, batch.y, batch.n_classes, strict=True):
                assert y_context.unique().tolist() == list(range(n_classes)) and y.max() < n_classes


@pytest.mark.parametrize("task", TASKS)
def test_the_host_waits_for_few_numbers(task, seeded):
    """Masks that were asked one by one made 550 a batch; now about 55 (`benchmarks/operations.md`)."""
    prior = MixturePrior(task=task)
    counts = [counted(lambda seed=seed: prior.sample(TaskShape(16, 64, 40, 8), seeded(seed))) for seed in range(4)]
    assert sum(count.syncs for count in counts) / len(counts) < 90
