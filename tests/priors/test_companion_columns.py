"""Companion columns of training tasks: as prediction makes them, and as good in the context as they look."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icl.prediction.companions import columns, protocol
from icl.prediction.companions.columns import Columns
from icl.prediction.companions.protocol import Labelled
from icl.training.steps import sample_step
from priors import CompanionColumns, MixturePrior, ShapeSampler, TaskBatch, TaskShape, companions
from priors.companions import COMPONENTS, KINDS
from priors.components import components_of
from priors.filter import noise_only

ALWAYS = CompanionColumns(share=1.0, as_by_default=1.0)
PRIORS = [MixturePrior(task="classification"), MixturePrior(task="regression")]
SHAPES = ShapeSampler(n_cells=3000, rows=(64, 400), features=(2, 9))
F = 6


def tasks(task: str, n_rows: int, n_context: int, seed: int, n_tasks: int = 1) -> TaskBatch:
    prior = MixturePrior(task=task, missing=0.0)
    return prior.sample(TaskShape(n_tasks, n_rows, n_context, F), torch.Generator().manual_seed(seed))


def correlation(a, b) -> float:
    return float(np.corrcoef(np.asarray(a, dtype=float), np.asarray(b, dtype=float))[0, 1])


def test_rules_are_those_of_prediction():
    assert companions.LEAST_SHARE == protocol.LEAST_SHARE and companions.LEAST_GAIN == columns._LEAST_GAIN
    for n in (
        companions.FEWEST_ROWS,
        companions.SOME_ROWS - 1,
        companions.SOME_ROWS,
        companions.MANY_ROWS - 1,
        250,
        900,
    ):
        g = torch.Generator().manual_seed(n)
        # Boosting is too dear for training: its column, where there is one, is read as those of trees are.
        assert ALWAYS.drawn(n, g) == tuple(name for name in columns.suited(n, None) if name != "boosting")
    assert ALWAYS.drawn(companions.FEWEST_ROWS - 1, torch.Generator().manual_seed(0)) == ()
    assert companions.FEWEST_ROWS == columns.FEWEST_ROWS


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_columns_say_what_those_of_prediction_say(kind, seed, seeded):
    """Fewer waves, landmarks and trees, but the same answers up to their noise, to context rows and to query rows."""
    batch = tasks("regression", 500, 300, seed)
    numbers = replace(batch, is_categorical=torch.zeros_like(batch.is_categorical))
    ours = ALWAYS.shown(numbers, (kind,), seeded(1)).X[0, :, F:].numpy()
    y = batch.y[0].numpy()
    y = (y - y[:300].mean()) / y[:300].std()
    known = Labelled(batch.X[0, :300].numpy(), np.zeros(F, dtype=int), y[:300], None)
    made = Columns(known, (kind,))
    theirs = np.concatenate([made.context_NS, made(batch.X[0, 300:].numpy())])
    if not theirs.shape[1] or not ours.shape[1]:
        assert (
            theirs.shape[1] == 0 or abs(correlation(theirs[:300, 0], y[:300])) < 0.35
        )  # near the gate either may pass
        return
    for part in (slice(0, 300), slice(300, None)):
        own, other = correlation(ours[part, 0], y[part]), correlation(theirs[part, 0], y[part])
        assert abs(own - other) < 0.15, (own, other)
    assert correlation(ours[300:, 0], theirs[300:, 0]) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_does_not_reach_its_own_answer(kind, seeded):
    """Context answers are as good as those to queries: on 60 tasks the mean correlations differ by less than .05."""
    own, new = [], []
    for seed in range(6):
        batch = ALWAYS.shown(tasks("regression", 120, 60, seed, 10), (kind,), seeded(seed))
        for X, y in zip(batch.X[..., F:], batch.y):
            if X.shape[1] and X[:60, 0].std() > 0 and X[60:, 0].std() > 0:
                own.append(correlation(X[:60, 0], y[:60]))
                new.append(correlation(X[60:, 0], y[60:]))
    assert len(own) > 30
    gaps = np.array(own) - np.array(new)
    assert abs(gaps.mean()) < max(0.05, 3 * gaps.std() / np.sqrt(len(gaps)))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_explains_nothing_is_not_shown(task, seeded):
    shown = 0
    for seed in range(8):
        batch = noise_only(tasks(task, 400, 300, seed), seeded(seed))
        shown += ALWAYS.shown(batch, KINDS, seeded(seed)).X.shape[2] > F
    assert shown <= 2


def test_classes_have_a_column_each_and_cells_are_kept(seeded):
    for seed in range(4):
        batch = tasks("classification", 90, 60, seed, 24)
        wide = ALWAYS.shown(batch, ("ridge", "trees"), seeded(seed))
        counts = wide.n_classes
        assert wide.X.shape[2] - F <= 2 * int(counts.max()) + (counts.max() == 2)
        assert int(counts.max()) <= max(2, 2 * int(counts.min()))
        assert wide.X[..., F:].isfinite().all() and not wide.is_categorical[:, F:].any()
        assert wide.shape.n_tasks == 1 or wide.X.numel() <= 1.1 * batch.X.numel()
        # The tasks are those of the batch.
        index = [int((batch.y == y).all(1).nonzero()[0, 0]) for y in wide.y]
        assert torch.equal(wide.X[..., :F].nan_to_num(), batch.X[index].nan_to_num())


def test_a_batch_that_would_be_too_wide_stays_as_it_is(seeded):
    batch = tasks("regression", 60, 40, 0, 2)
    narrow = CompanionColumns(share=1.0, max_features=F + 1)
    assert narrow.shown(batch, ("ridge",), seeded(0)) is batch


def test_options_out_of_range_are_refused():
    for options in ({"share": 1.5}, {"as_by_default": -0.1}, {"n_trees": 1}, {"components": 2.0}):
        with pytest.raises(ValueError, match="got"):
            CompanionColumns(**options)


def test_the_stream_is_that_without_companions_widened():
    for step in range(2):
        plain = sample_step(PRIORS, SHAPES, 3, step)
        for rank in (0, 1):
            wide = sample_step(PRIORS, SHAPES, 3, step, rank, companions=CompanionColumns())
            again = sample_step(PRIORS, SHAPES, 3, step, rank, companions=CompanionColumns())
            for a, b in zip(wide, again, strict=True):
                assert torch.equal(a.X.nan_to_num(), b.X.nan_to_num()) and torch.equal(a.y, b.y)
        off = sample_step(PRIORS, SHAPES, 3, step, companions=CompanionColumns(share=0.0))
        for a, b in zip(plain, off, strict=True):
            assert torch.equal(a.X.nan_to_num(), b.X.nan_to_num()) and torch.equal(a.y, b.y)


def test_shares_are_those_asked_for(seeded):
    """Of 2,000 batches, within four standard errors."""
    g, config = seeded(0), CompanionColumns(share=0.4, as_by_default=0.75)
    drawn = [config.drawn(300, g) for _ in range(2_000)]
    some = [kinds for kinds in drawn if kinds]
    assert abs(len(some) / 2_000 - 0.4) < 4 * (0.24 / 2_000) ** 0.5
    # One of seven of the others is the default by chance.
    expected = 0.75 + 0.25 / 7
    assert abs(sum(kinds == KINDS for kinds in some) / len(some) - expected) < 4 * (0.17 / len(some)) ** 0.5


def test_components_are_drawn_beside_companions(seeded):
    """Whatever else a batch shows; and the companions are those of a stream without components."""
    one, other = seeded(0), seeded(0)
    without = [CompanionColumns(share=0.4).drawn(300, one) for _ in range(2_000)]
    drawn = [CompanionColumns(share=0.4, components=0.3).drawn(300, other) for _ in range(2_000)]
    assert [tuple(kind for kind in kinds if kind != COMPONENTS) for kinds in drawn] == without
    for some in (
        [k for k, plain in zip(drawn, without) if plain],
        [k for k, plain in zip(drawn, without) if not plain],
    ):
        share = np.mean([kinds[:1] == (COMPONENTS,) for kinds in some])
        assert abs(share - 0.3) < 4 * (0.21 / len(some)) ** 0.5
    assert CompanionColumns(components=1.0).drawn(companions.FEWEST_ROWS - 1, seeded(0)) == (COMPONENTS,)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_components_lie_before_answers_and_cells_are_kept(task, seed, seeded):
    batch = tasks(task, 90, 60, seed, 24)
    wide = ALWAYS.shown(batch, (COMPONENTS,), seeded(seed))
    index = [int((batch.y == y).all(1).nonzero()[0, 0]) for y in wide.y]
    assert torch.equal(wide.X[..., :F].nan_to_num(), batch.X[index].nan_to_num())
    made = wide.X[..., F:]
    # Every column shown is a component of its task, as prediction has it; and those that fit are as many as before.
    assert made.ne(0).any(1).all() and not wide.is_categorical[:, F:].any()
    assert torch.equal(made, components_of(batch, F)[index, :, : made.shape[2]].float())
    assert 1 <= len(wide.X) <= 24 * F / wide.X.shape[2] + 1
    both = ALWAYS.shown(batch, (COMPONENTS, "ridge"), seeded(seed)).X
    assert both[..., F:].isfinite().all()
    # Only as many as there is room for, those of the largest variance.
    narrow = CompanionColumns(max_features=F + 2).shown(batch, (COMPONENTS,), seeded(seed)).X
    assert narrow.shape[2] <= F + 2
    full = CompanionColumns(max_features=F).shown(batch, (COMPONENTS,), seeded(seed))
    assert torch.equal(full.X.nan_to_num(), batch.X.nan_to_num())


def test_a_batch_without_components_stays_whole(seeded):
    batch = tasks("regression", 90, 60, 0, 12)
    one = replace(batch, X=batch.X[..., :1], is_categorical=batch.is_categorical[:, :1])
    levels = replace(batch, is_categorical=torch.ones_like(batch.is_categorical))
    for plain in (one, levels):
        assert ALWAYS.shown(plain, (COMPONENTS,), seeded(0)).X.shape == plain.X.shape
