"""Steps whose batches were drawn together: another stream, under the same laws."""

from dataclasses import replace

import pytest
import torch

from icl.training.steps import sample_block
from icl.training.stream import TaskDataModule, TaskLoader, TaskStream
from priors import CompanionColumns, LinearPrior, MixturePrior, ShapeSampler

PRIORS = [MixturePrior(task="classification"), LinearPrior()]
SHAPES = ShapeSampler(n_cells=600, rows=(24, 90), features=(2, 8))
STEPS = 3 * 3  # of a block


def read(n_steps: int, start: int = 0, shapes: ShapeSampler = SHAPES, **options) -> list:
    stream = TaskStream(PRIORS, shapes, seed=5, start=start, n_steps=n_steps, together=3, **options)
    return list(TaskLoader(stream, batch_size=None))


def same(left: list, right: list) -> bool:
    pairs = [(a, b) for batches, others in zip(left, right, strict=True) for a, b in zip(batches, others, strict=True)]
    return all(torch.equal(a.X.nan_to_num(), b.X.nan_to_num()) and torch.equal(a.y, b.y) for a, b in pairs)


def test_a_step_is_the_same_wherever_the_stream_starts():
    whole = read(STEPS + 4)
    assert same(read(6, start=STEPS - 2), whole[STEPS - 2 :])
    stream = TaskStream(PRIORS, SHAPES, seed=5, together=3)
    assert all(same([stream.at(step)], [whole[step]]) for step in (STEPS + 1, 2, STEPS, 2))


def test_batches_have_the_size_of_their_shape_and_tasks_are_dealt_once():
    steps = sample_block(PRIORS, SHAPES, 0, 0, together=3)
    assert len(steps) == STEPS and all(len(batches) == 2 for batches in steps)
    for k in range(2):
        shapes = [batches[k].shape for batches in steps]
        assert all(s.n_tasks * s.n_rows * s.n_features <= max(600, s.n_rows * s.n_features) for s in shapes)
        # Three draws of three batches each, and in another order than they were drawn.
        assert 1 < len(set(shapes)) <= 3 and any(shapes[i] != shapes[i - i % 3] for i in range(STEPS))
        first = [row for batches in steps for row in batches[k].y[:, :5].tolist()]
        assert sum(batches[k].shape.n_tasks for batches in steps) == len(first)
    numbers = [tuple(row) for batches in steps for row in batches[1].y[:, :5].tolist()]
    assert len(set(numbers)) == len(numbers)


def test_ranks_share_shapes_but_no_tasks():
    zero, one = (sample_block(PRIORS, SHAPES, 0, 1, rank, together=2) for rank in (0, 1))
    for left, right in zip(zero, one):
        for a, b in zip(left, right):
            assert a.shape == b.shape and not torch.equal(a.X.nan_to_num(), b.X.nan_to_num())


def test_companions_are_shown_here_too():
    shapes = replace(SHAPES, rows=(64, 90), context_share=(0.6, 0.9))
    shown = read(STEPS, shapes=shapes, companions=CompanionColumns(share=1.0))
    plain = read(STEPS, shapes=shapes)
    assert any(a[1].X.shape[2] > b[1].X.shape[2] for a, b in zip(shown, plain))


def test_several_workers_are_refused():
    with pytest.raises(ValueError, match=r"got 8 with num_workers 2"):
        TaskDataModule(draws_together=8, num_workers=2)
