"""Tasks on disk: the same files however they are written, and the very tasks of the stream when read."""

import json
from hashlib import sha256

import pytest
import torch
from training_runs import forks

from icl.training.exported_tasks import FolderSource
from icl.training.stream import TaskStream
from priors import LinearPrior, MixturePrior, ShapeSampler
from priors import export as export_module
from priors.export import export_tasks
from priors.stream import one_thread

PRIOR = MixturePrior(task="classification", missing=1.0)
SHAPES = ShapeSampler(n_cells=600, rows=(16, 64), features=(1, 6))
OPTIONS = dict(prior=PRIOR, shapes=SHAPES, n_tasks=60, seed=3, batches_per_shard=4)


def hashes(folder) -> dict[str, str]:
    return {f.name: sha256(f.read_bytes()).hexdigest() for f in sorted(folder.glob("*.parquet"))}


def assert_identical(a, b):
    """Bit for bit, NaN included."""
    assert a.n_context == b.n_context
    assert torch.equal(a.X.view(torch.int32), b.X.view(torch.int32))
    assert a.y.dtype == b.y.dtype and torch.equal(a.y, b.y)
    assert torch.equal(a.is_categorical, b.is_categorical)
    assert (a.n_classes is None) == (b.n_classes is None)
    assert a.n_classes is None or torch.equal(a.n_classes, b.n_classes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    export_tasks(folder, **OPTIONS)
    return folder


class Harder:
    """A curriculum: the noise grows with the step."""

    def at_step(self, step: int) -> LinearPrior:
        return LinearPrior(noise_scale=1.0 + step)


@pytest.mark.parametrize(
    "prior",
    [PRIOR, MixturePrior(task="regression"), LinearPrior(), Harder()],
    ids=["classification", "regression", "linear", "curriculum"],
)
def test_a_folder_gives_back_the_stream(tmp_path, prior):
    export_tasks(tmp_path, **OPTIONS | {"prior": prior})
    source = FolderSource(str(tmp_path))
    with one_thread():
        stream = list(TaskStream([prior], SHAPES, seed=3, n_steps=source.n_batches))
    assert sum(len(b.y) for (b,) in stream) == source.n_tasks >= OPTIONS["n_tasks"]
    for step, (expected,) in enumerate(stream):
        (batch,) = source.batches(step)
        assert_identical(batch, expected)
    assert any(b.X.isnan().any() for (b,) in stream) or prior is not PRIOR


def test_workers_change_nothing(exported, tmp_path, monkeypatch):
    """Forks of a process that has imported torch, in place of new interpreters; what they are handed is the same."""
    monkeypatch.setattr(torch.multiprocessing, "get_context", lambda method: forks())
    export_tasks(tmp_path, **OPTIONS, workers=2)
    assert hashes(tmp_path) == hashes(exported) and len(hashes(exported)) > 2


def test_a_killed_export_continues(exported, tmp_path, monkeypatch):
    write, written = export_module._write_shard, []

    def dies_at_the_third(*job):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(job)
        return write(*job)

    monkeypatch.setattr(export_module, "_write_shard", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        export_tasks(tmp_path, **OPTIONS)
    assert len(hashes(tmp_path)) == 2
    with pytest.raises(ValueError, match="interrupted"):
        FolderSource(str(tmp_path))

    written.clear()
    monkeypatch.setattr(export_module, "_write_shard", lambda *job: (written.append(job), write(*job))[1])
    export_tasks(tmp_path, **OPTIONS)
    assert hashes(tmp_path) == hashes(exported)
    assert len(written) == len(hashes(exported)) - 2
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*.partial"))


def test_a_shard_that_dies_half_way_leaves_nothing(tmp_path, monkeypatch):
    from datasets import Dataset

    def half(self, path):
        with open(path, "wb") as file:
            file.write(b"PAR1")
        raise OSError("disk full")

    monkeypatch.setattr(Dataset, "to_parquet", half)
    with pytest.raises(OSError, match="disk full"):
        export_tasks(tmp_path, **OPTIONS)
    assert [f.name for f in tmp_path.iterdir()] == ["dataset.json"]


def test_a_larger_export_extends_the_folder(exported, tmp_path):
    export_tasks(tmp_path, **OPTIONS | {"n_tasks": 20})
    small = hashes(tmp_path)
    export_tasks(tmp_path, **OPTIONS)
    assert hashes(tmp_path) == hashes(exported) and len(small) < len(hashes(exported))


def test_tasks_of_other_settings_are_not_mixed_in(exported):
    before = hashes(exported)
    for other in ({"seed": 4}, {"prior": LinearPrior()}, {"shapes": ShapeSampler(n_cells=500)}):
        with pytest.raises(ValueError, match="other settings"):
            export_tasks(exported, **OPTIONS | other)
    assert hashes(exported) == before


def test_the_folder_is_a_hugging_face_dataset(exported, tmp_path):
    import datasets

    data = datasets.load_dataset(
        "parquet", data_files=str(exported / "*.parquet"), split="train", cache_dir=str(tmp_path)
    )
    record = json.loads((exported / "dataset.json").read_text())
    assert len(data) == record["n_tasks"] and record["complete"]
    task = data[0]
    assert len(task["X"]) == task["n_rows"] * task["n_features"] and len(task["y"]) == task["n_rows"]
    assert {"date", "git_commit", "versions", "wall_seconds"} <= set(record)


def test_later_passes_shuffle_and_ranks_share_out(exported):
    source = FolderSource(str(exported), seed=1)
    n = source.n_batches
    assert n > 8

    def key(batch):
        return float(batch.X.nan_to_num().double().sum())

    def read(source, number, rank=0):
        return [key(source.batches(number * n + i, rank)[0]) for i in range(n)]

    first, second = read(source, 0), read(source, 1)
    assert first != second and sorted(first) == sorted(second)
    assert read(FolderSource(str(exported), seed=1), 1) == second != read(FolderSource(str(exported), seed=2), 1)
    halves = FolderSource(str(exported), seed=1, n_ranks=2)
    dealt = [key(halves.batches(step, rank)[0]) for step in range(n) for rank in (0, 1)]
    assert dealt == first + second
    with pytest.raises(ValueError, match="n_ranks"):
        source.batches(0, rank=1)


def test_a_folder_without_tasks_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="priors export"):
        FolderSource(str(tmp_path))
