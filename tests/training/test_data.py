"""The task stream: a pure function of (seed, step, rank)."""

import itertools
from argparse import ArgumentError

import pytest
import torch
from torch.testing import assert_close

from icl.training.stream import TaskDataModule, TaskLoader, TaskStream, sample_step
from priors import MixturePrior, Prior, ShapeSampler, TaskBatch
from priors.stream import seeded_generator

PRIORS = [MixturePrior(task="classification"), MixturePrior(task="regression")]
SHAPES = ShapeSampler(n_cells=600, rows=(16, 64), features=(1, 6))


def first(loader, n=6):
    return list(itertools.islice(iter(loader), n))


def assert_same(left, right):
    for batches, others in zip(left, right, strict=True):
        for a, b in zip(batches, others, strict=True):
            assert_close(a.X, b.X, rtol=0, atol=0, equal_nan=True)
            assert_close(a.y, b.y, rtol=0, atol=0)


# More workers than cores is the point here: the stream must not depend on them.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_change_nothing(num_workers):
    alone = first(TaskLoader(TaskStream(PRIORS, SHAPES, seed=3), batch_size=None))
    stream = TaskStream(PRIORS, SHAPES, seed=3, n_steps=6)
    shared = list(TaskLoader(stream, batch_size=None, num_workers=num_workers))
    assert_same(alone, shared)


def test_a_stream_that_starts_later_is_the_same_stream():
    assert_same(first(TaskStream(PRIORS, SHAPES, seed=3), 6)[4:], first(TaskStream(PRIORS, SHAPES, seed=3, start=4), 2))


def test_ranks_share_shapes_but_no_tasks():
    for step in range(5):
        zero, one = (sample_step(PRIORS, SHAPES, seed=0, step=step, rank=rank) for rank in (0, 1))
        for a, b in zip(zero, one, strict=True):
            assert a.shape == b.shape
            assert not torch.equal(a.X.nan_to_num(), b.X.nan_to_num())


def test_every_number_of_the_key_changes_the_stream():
    keys = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (0, 0)]
    draws = {float(torch.rand((), generator=seeded_generator(*key))) for key in keys}
    assert len(draws) == len(keys)


def trainer_stub(rank=0, world_size=1, step=0):
    strategy = type("Strategy", (), {"root_device": torch.device("cpu")})()
    fields = {"global_rank": rank, "world_size": world_size, "global_step": step, "strategy": strategy}
    return type("Trainer", (), fields)()


def test_validation_is_fixed_and_apart_from_training():
    data = TaskDataModule(PRIORS, SHAPES, seed=0, n_validation_steps=3, n_family_batches=0)
    data.trainer = trainer_stub()
    validation = [item.batch for item in data.val_dataloader()]
    assert_same([validation], [[item.batch for item in data.val_dataloader()]])
    training = first(data.train_dataloader(), 3)
    assert not torch.equal(validation[0].y, training[0][0].y)


def shares(world_size, n_virtual_ranks):
    """The first steps as the processes take them, one list of batches a step."""
    parts = []
    for rank in range(world_size):
        data = TaskDataModule(PRIORS, SHAPES, seed=3, n_virtual_ranks=n_virtual_ranks)
        data.trainer = trainer_stub(rank, world_size)
        assert data.n_batches == 2 * n_virtual_ranks // world_size
        parts.append(first(data.train_dataloader(), 3))
    return [[batch for part in step for batch in part] for step in zip(*parts, strict=True)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_virtual_ranks_make_the_steps_independent_of_the_number_of_processes(world_size):
    assert_same(shares(1, 4), shares(world_size, 4))


def test_virtual_ranks_that_cannot_be_dealt_evenly_are_refused():
    data = TaskDataModule(PRIORS, SHAPES, n_virtual_ranks=3)
    data.trainer = trainer_stub(world_size=2)
    with pytest.raises(ValueError, match="multiple of the number of processes, got 3 and 2"):
        data.train_dataloader()


def test_a_curriculum_is_asked_for_its_form_at_the_step():
    class Growing:
        def at_step(self, step):
            return ShapeSampler(n_cells=600, rows=(16, 16 + 16 * step), features=(1, 6))

    for step in (0, 1, 3):
        for batch in sample_step(PRIORS, Growing(), seed=0, step=step):
            assert batch.shape.n_rows <= 16 + 16 * step


def test_exported_tasks_train_as_the_stream_would(tmp_path):
    from priors.export import export_tasks

    folders = []
    for prior in PRIORS:
        folders.append(str(tmp_path / prior.task))
        export_tasks(folders[-1], prior, SHAPES, n_tasks=20, seed=3, batches_per_shard=2)
    data = TaskDataModule(PRIORS, SHAPES, folders=folders, seed=3)
    data.trainer = trainer_stub()
    read = first(data.train_dataloader(), 3)
    for batches in read:
        assert [batch.n_classes is None for batch in batches] == [False, True]
    # The first prior of a step is drawn with the export's own key; later ones with another.
    streamed = first(TaskStream(PRIORS[:1], SHAPES, seed=3), 3)
    assert_same(streamed, [batches[:1] for batches in read])
    data.trainer.global_step = 2
    assert_same(first(data.train_dataloader(), 1), read[2:])


def test_a_prior_of_ones_own_is_named_in_the_configuration(monkeypatch):
    """The example in examples/, built from the words a YAML file would hold."""
    from pathlib import Path

    from jsonargparse import ArgumentParser

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TaskDataModule, "data")
    own = {"class_path": "own_prior.SinePrior", "init_args": {"noise_std": 0.2}}
    data = parser.instantiate(parser.parse_object({"data": {"priors": [own]}})).data
    [batch] = sample_step(data.priors, SHAPES, seed=0, step=0)
    assert data.priors[0].noise_std == 0.2 and batch.n_classes is None and batch.y.isfinite().all()


class Unannotated:
    """What the README promises to train on: a class with `sample(shape, generator)`, annotations or not."""

    def __init__(self, slope=1.0):
        self.slope = slope

    def sample(self, shape, generator):
        X = torch.randn(shape.n_tasks, shape.n_rows, shape.n_features, generator=generator)
        return TaskBatch(X, self.slope * X.sum(-1), shape.n_context, torch.zeros(X.shape[::2], dtype=torch.bool))


def test_a_prior_without_annotations_is_taken_and_its_options_are_checked():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TaskDataModule, "data")

    def build(**options):
        own = {"class_path": f"{__name__}.Unannotated", "init_args": options}
        return parser.instantiate(parser.parse_object({"data": {"priors": [own]}})).data.priors[0]

    assert build(slope=2.0).slope == 2.0
    assert isinstance(build(), Prior) and not isinstance(object(), Prior)
    with pytest.raises(ArgumentError, match="'slop' is not accepted"):
        build(slop=2.0)


@pytest.mark.parametrize("name", ["n_cells", "max_tasks", "mean_features"])
def test_shapes_without_room_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        ShapeSampler(**{name: 0})
