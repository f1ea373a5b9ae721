"""A prior that cannot be trained on is refused before the first step, in words that say what to return."""

from dataclasses import replace

import pytest
import torch

from priors import ShapeSampler, TaskBatch, available_priors, make_prior
from priors.contract import check_prior

SHAPES = ShapeSampler(n_cells=400, max_tasks=8, rows=(16, 64), features=(2, 8))


class Own:
    """Amounts or classes, with one thing changed."""

    def __init__(self, change=lambda batch: batch, n_classes=None, ambient=False):
        self.change, self.n_classes, self.ambient = change, n_classes, ambient

    def sample(self, shape, generator):
        B, R, F = shape.n_tasks, shape.n_rows, shape.n_features
        X = torch.randn(B, R, F, generator=None if self.ambient else generator)
        X[0, 0, 0] = torch.nan
        flags, k = torch.zeros(B, F, dtype=torch.bool), self.n_classes
        if k is None:
            return self.change(TaskBatch(X, X[..., -1].nan_to_num(), shape.n_context, flags))
        y = torch.randint(0, k, (B, R), generator=generator)
        return self.change(TaskBatch(X, y, shape.n_context, flags, torch.full((B,), k)))


@pytest.mark.parametrize("name", available_priors())
def test_every_prior_of_the_library_passes(name):
    check_prior(make_prior(name), SHAPES)


def test_own_priors_pass():
    check_prior(Own(), SHAPES)
    check_prior(Own(n_classes=3), SHAPES)


WRONG = {
    "gave a tuple; return priors.TaskBatch": (lambda b: (b.X, b.y), None),
    r"X of shape \(2, \d+, \d+\); \(2, \d+, \d+\) is wanted": (lambda b: replace(b, X=b.X[..., :-1]), None),
    "y of shape": (lambda b: replace(b, y=b.y[:, :-1]), None),
    "X of torch.float64; torch.float32 is wanted": (lambda b: replace(b, X=b.X.double()), None),
    "y of torch.int64; torch.float32 is wanted": (lambda b: replace(b, n_classes=None), 3),
    "y of torch.float32; torch.int64 is wanted beside n_classes": (lambda b: replace(b, y=b.y.float()), 3),
    "X as a ndarray": (lambda b: replace(b, X=b.X.numpy()), None),
    "is_categorical of torch.float32": (lambda b: replace(b, is_categorical=b.is_categorical.float()), None),
    "is_categorical of shape": (lambda b: replace(b, is_categorical=b.is_categorical[0]), None),
    "n_classes as a int": (lambda b: replace(b, n_classes=3), 3),
    "n_context": (lambda b: replace(b, n_context=b.n_context - 1), None),
    "infinite cells in X": (lambda b: replace(b, X=b.X / 0), None),
    "targets that are not finite": (lambda b: replace(b, y=b.y / 0), None),
    r"classes from \d to 3 for n_classes": (lambda b: replace(b, y=b.y + 1), 3),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_trained_on_is_named(words):
    change, n_classes = WRONG[words]
    with pytest.raises((TypeError, ValueError), match=rf"Own.sample .*{words}"):
        check_prior(Own(change, n_classes), SHAPES)


def test_draws_of_another_source_are_refused():
    with pytest.raises(ValueError, match="another batch from a generator in the same state"):
        check_prior(Own(ambient=True), SHAPES)
