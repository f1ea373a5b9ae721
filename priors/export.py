"""Tasks on disk: a stream of a prior as Parquet shards of a Hugging Face dataset.

A folder holds `tasks-00000.parquet`, ... with one row per task, and `dataset.json` with how it was made. Batch `i` of
the folder is batch `i` of the endless stream of the same prior, shapes and seed; a shard is a run of batches, and a
function of (seed, shard index) only. So any number of workers writes the same files, a killed export continues where
it stopped, and a larger `n_tasks` extends the folder.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from priors.jobs import run_jobs
from priors.shapes import ShapeSampler
from priors.stream import at_step, one_thread, seeded_generator
from priors.task import Prior, TaskBatch, TaskShape

RECORD, FORMAT = "dataset.json", 1


def shape_at(shapes: ShapeSampler, seed: int, index: int) -> TaskShape:
    """The shape of batch `index`; cheap, so that a plan needs no task."""
    return at_step(shapes, index).sample(seeded_generator(seed, index, 0))


def batch_at(prior: Prior, shapes: ShapeSampler, seed: int, index: int) -> TaskBatch:
    """Batch `index` of the stream: a pure function of its arguments; a curriculum is asked for its form there."""
    return at_step(prior, index).sample(shape_at(shapes, seed, index), seeded_generator(seed, index, 1, 0, 0))


def export_tasks(
    out: str | Path,
    prior: Prior,
    shapes: ShapeSampler,
    n_tasks: int,
    seed: int = 0,
    workers: int = 0,
    batches_per_shard: int = 100,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
    engine: str = "local",
) -> dict[str, Any]:
    """Write at least `n_tasks` tasks (whole batches) below `out` and return the record.

    Args:
        workers: processes that write; 0 writes in this one, or on every core of Ray. Changes nothing but speed.
        engine: "local", or "ray": its workers write, to a folder that all of them share.
        on_shard: called with (tasks done, tasks in all) at the start and after each shard.
    Raises:
        ValueError: if `out` holds tasks that other settings made.
    """
    if n_tasks < 1 or batches_per_shard < 1 or workers < 0:
        raise ValueError(
            f"an export needs n_tasks >= 1, batches_per_shard >= 1 and workers >= 0, got {n_tasks}, "
            f"{batches_per_shard} and {workers}."
        )
    start, folder = time.perf_counter(), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "format": FORMAT,
        "prior": describe_prior(prior),
        "shapes": asdict(shapes) if is_dataclass(shapes) else repr(shapes),
        "seed": seed,
        "batches_per_shard": batches_per_shard,
    }
    settings = json.loads(json.dumps(settings))  # as it will be read back: tuples become lists
    before = _read_record(folder)
    changed = [k for k in settings if before and before["settings"].get(k) != settings[k]]
    if changed:
        raise ValueError(
            f"{folder} holds tasks of other settings ({', '.join(changed)} changed); choose another folder, "
            "or remove it first."
        )
    sizes = list(_batch_sizes(shapes, seed, n_tasks))
    plan = [sizes[i : i + batches_per_shard] for i in range(0, len(sizes), batches_per_shard)]
    record = {
        "settings": settings,
        "complete": False,
        "n_tasks": sum(sizes),
        "n_batches": len(sizes),
        "shards": [{"file": _shard_name(k), "n_tasks": sum(part)} for k, part in enumerate(plan)],
        "wall_seconds": (before or {}).get("wall_seconds", 0.0),
        **_origin(),
    }
    if before and before["complete"] and before["n_tasks"] >= record["n_tasks"]:
        on_shard(before["n_tasks"], before["n_tasks"])
        return before
    _write_record(folder, record)
    todo = [k for k, part in enumerate(plan) if _rows_of(folder / _shard_name(k)) != sum(part)]
    done = record["n_tasks"] - sum(sum(plan[k]) for k in todo)
    on_shard(done, record["n_tasks"])

    def job(k: int) -> tuple[Any, ...]:
        return folder.resolve(), prior, shapes, seed, k, k * batches_per_shard, len(plan[k])

    for written in run_jobs(_write_shard, [job(k) for k in todo], workers, engine):
        done += written
        on_shard(done, record["n_tasks"])
    record |= {"complete": True, "wall_seconds": round(record["wall_seconds"] + time.perf_counter() - start, 1)}
    _write_record(folder, record)
    return record


def describe_prior(prior: Prior) -> dict[str, Any]:
    """Class and options, as text that tells two priors apart and survives JSON."""
    kind = f"{type(prior).__module__}.{type(prior).__qualname__}"
    # An object without a repr of its own shows its address, which differs from run to run.
    return {"class_path": kind, "repr": re.sub(r" at 0x[0-9a-f]+", "", repr(prior))}


def _batch_sizes(shapes: ShapeSampler, seed: int, n_tasks: int) -> Iterator[int]:
    index = total = 0
    while total < n_tasks:
        size = shape_at(shapes, seed, index).n_tasks
        yield size
        index, total = index + 1, total + size


def _shard_name(k: int) -> str:
    return f"tasks-{k:05d}.parquet"


def _rows_of(file: Path) -> int | None:
    """Rows of a finished shard; the last shard of a smaller export is shorter and is written anew."""
    import pyarrow.parquet as pq

    return pq.read_metadata(file).num_rows if file.is_file() else None


def _write_shard(
    folder: Path, prior: Prior, shapes: ShapeSampler, seed: int, k: int, first: int, n_batches: int
) -> int:
    """Write shard `k`, visible only once it is whole; returns its number of tasks."""
    import datasets

    with one_thread():
        table = _as_dataset([(i, batch_at(prior, shapes, seed, i)) for i in range(first, first + n_batches)])
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        target = folder / _shard_name(k)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            table.to_parquet(str(partial))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return len(table)
    finally:
        if bars:
            datasets.enable_progress_bars()


def _as_dataset(batches: list[tuple[int, TaskBatch]]) -> Any:
    """One row per task; cells are flattened row by row, and float32 bits are kept, NaN included."""
    import pyarrow as pa
    from datasets import Dataset, Features, List, Value

    def lists(tensors: list[torch.Tensor]) -> pa.ListArray:
        """A list for each task from tensors of shape (tasks, items)."""
        lengths = torch.cat([torch.tensor([0])] + [torch.full((len(t),), t[0].numel()) for t in tensors])
        values = torch.cat([t.detach().cpu().contiguous().flatten() for t in tensors])
        return pa.ListArray.from_arrays(pa.array(lengths.cumsum(0).int().numpy()), pa.array(values.numpy()))

    def numbers(name: str) -> pa.Array:
        return pa.array([getattr(b.shape, name) for _, b in batches for _ in range(b.shape.n_tasks)], pa.int64())

    classify = all(b.n_classes is not None for _, b in batches)
    columns = {
        "batch": pa.array([i for i, b in batches for _ in range(b.shape.n_tasks)], pa.int64()),
        "n_rows": numbers("n_rows"),
        "n_features": numbers("n_features"),
        "n_context": numbers("n_context"),
        "n_classes": pa.array([c for _, b in batches for c in _classes_of(b)], pa.int64()),
        "X": lists([b.X.flatten(1) for _, b in batches]),
        "y": lists([b.y for _, b in batches]),
        "is_categorical": lists([b.is_categorical for _, b in batches]),
    }
    features = {name: Value("int64") for name in ("batch", "n_rows", "n_features", "n_context", "n_classes")}
    features |= {"X": List(Value("float32")), "y": List(Value("int64" if classify else "float32"))}
    features |= {"is_categorical": List(Value("bool"))}
    return Dataset(pa.table(columns).cast(Features(features).arrow_schema))


def _classes_of(batch: TaskBatch) -> list[int | None]:
    return [None] * batch.shape.n_tasks if batch.n_classes is None else batch.n_classes.tolist()


def _read_record(folder: Path) -> dict[str, Any] | None:
    file = folder / RECORD
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    partial = folder / f".{RECORD}.partial"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / RECORD)


def _origin() -> dict[str, Any]:
    found = {d.name: d.version for d in distributions()}
    versions = {name: found.get(name) for name in ("icl", "torch", "datasets", "pyarrow")}
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"date": date, "versions": versions, "python": platform.python_version(), "git_commit": _git_commit()}


def _git_commit() -> str | None:
    """Commit of the source tree this runs from, with "-dirty" if tracked files differ; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
