"""Parquet shards in, Parquet shards out: each whole or not at all, and none done twice.

A shard of the output carries the name of its source. It is there once it is whole; so a run that was interrupted, by
whatever, is continued by the same command, and a worker that dies costs the shard that it was at. `_shards.json` in
the output says what made it, so that two kinds of answers never share a folder; readers of a folder of Parquet files
pass over names that begin with "_".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from icl.atomic import write_atomically
from icl.scale.engines import check_engine, n_cpus, start

RECORD = "_shards.json"
# The name that it had, and what says that all of the identity is in it: what has neither was written by that version.
_OLD_RECORD, _FORMAT = "shards.json", {"format": 2}
_ENDINGS = (".parquet", ".pq")


class Work(Protocol):
    """What is done with one shard. It travels to each worker once, and is kept there for all shards."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers, as JSON has it: two works with one identity give the same."""
        ...

    def __call__(self, source: Path, target: Path) -> int:
        """Write `target`, whole or not at all, from `source`; returns rows."""
        ...


@dataclass(frozen=True)
class Shard:
    """A file of the input, its place in the output, and its rows."""

    source: Path
    target: Path
    n_rows: int

    @property
    def is_done(self) -> bool:
        """The output is there, has as many rows, and is no older than the input."""
        return (
            self.target.is_file()
            and rows_of(self.target) == self.n_rows
            and self.target.stat().st_mtime_ns >= self.source.stat().st_mtime_ns
        )


@dataclass(frozen=True)
class Report:
    """What a run over shards did."""

    n_rows: int
    n_shards: int
    n_before: int
    """Shards that an earlier run had done."""
    seconds: float


def shards_of(folder: Path, output: Path) -> list[Shard]:
    """The Parquet files below a folder, in order, hidden ones left out.

    Raises:
        ValueError, OSError: for a folder without any, and for an output that is inside of the input or around it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name a folder of Parquet files.")
    ours, theirs = output.resolve(), folder.resolve()
    if ours == theirs or theirs in ours.parents or ours in theirs.parents:
        raise ValueError(f"the output {output} and the input {folder} lie in one another; name a folder of its own.")
    is_shown = lambda path: not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file() and is_shown(p))
    if not files:
        raise ValueError(f"{folder} holds no Parquet files ({', '.join(_ENDINGS)}); other formats are read one by one.")
    return [Shard(path, output / path.relative_to(folder), rows_of(path)) for path in files]


def rows_of(path: Path) -> int:
    """Rows of a Parquet file, by its last bytes; ValueError for what is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}.") from error


def work_through(
    work: Work,
    folder: Path,
    output: Path,
    engine: str = "local",
    workers: int | None = None,
    gpus: float = 0.0,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """`work` on every shard of `folder` that `output` does not have yet.

    Args:
        workers: processes of Ray; None for one on every core that it has.
        gpus: GPUs of each of them; a fraction shares one.
        on_shard: called with rows done and rows in all, at the start and after each shard.
    Raises:
        ValueError: if `output` holds answers of another kind.
    """
    check_engine(engine)
    started = time.perf_counter()
    shards = shards_of(folder, output)
    output.mkdir(parents=True, exist_ok=True)
    _record(work, output)
    todo = [shard for shard in shards if not shard.is_done]
    total = sum(shard.n_rows for shard in shards)
    done = total - sum(shard.n_rows for shard in todo)
    on_shard(done, total)
    for shard in todo:
        shard.target.parent.mkdir(parents=True, exist_ok=True)
    finished = (
        _by_ray(work, todo, workers, gpus) if engine == "ray" and todo else (work(s.source, s.target) for s in todo)
    )
    for n_rows in finished:
        done += n_rows
        on_shard(done, total)
    return Report(total, len(shards), len(shards) - len(todo), time.perf_counter() - started)


def _record(work: Work, output: Path) -> None:
    """Compare with what made the output before, and note what makes it now."""
    path, old = output / RECORD, output / _OLD_RECORD
    now = json.loads(json.dumps(work.identity | _FORMAT))  # as it will be read back: tuples become lists
    found = path if path.is_file() else old if old.is_file() else None
    if found is None:
        if any(p.suffix.lower() in _ENDINGS for p in output.rglob("*")):
            raise ValueError(
                f"{output} holds Parquet files that are not ours (there is no {RECORD}); name another folder."
            )
    else:
        before = _read_record(found)
        parts, others = _parts(now), _parts(before)
        # The first version noted less: what it did note must agree.
        names = {**others, **parts} if "format" in before else [name for name in others if name in parts]
        if changed := [name for name in names if others.get(name) != parts.get(name)]:
            raise ValueError(
                f"{output} holds answers of another kind ({', '.join(changed)} changed); name another folder, or "
                "remove it first."
            )
        if before == now:
            return
        if found == old:
            old.replace(path)
    write_atomically(path, json.dumps(now, indent=1) + "\n")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        found = error
    if not isinstance(found, dict):
        said = found if isinstance(found, ValueError) else f"a {type(found).__name__}, where names and values belong"
        raise ValueError(
            f"{path} is damaged ({said}), so that nothing tells what made the answers in {path.parent}; name another "
            "folder, or remove this one first."
        )
    return found


def _parts(identity: dict[str, Any]) -> dict[str, Any]:
    """What an identity says, the parts of its parts by themselves: {"model.class": ...}."""
    groups = [((name, value) if isinstance(value, dict) else ("", {name: value})) for name, value in identity.items()]
    return {f"{name}.{k}" if name else k: v for name, group in groups for k, v in group.items()}


def _by_ray(work: Work, todo: list[Shard], workers: int | None, gpus: float) -> Iterator[int]:
    """Rows of each shard as it is done. What is the same for all of them lies in the object store once."""
    ray = start()
    held = [ray.put(work)]  # in a list it arrives as the reference that it is
    size = min(workers or n_cpus(ray), len(todo))
    places = [{"source": str(shard.source.resolve()), "target": str(shard.target.resolve())} for shard in todo]
    data = ray.data.from_items(places, override_num_blocks=len(places))
    # The pool starts a worker anew when it dies, and gives what it was at to another.
    done = data.map(
        _Worker,
        fn_constructor_args=(held,),
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for row in done.iter_rows():
        yield row["rows"]


class _Worker:
    """One of Ray's, with the work."""

    def __init__(self, held: list):
        import ray

        self.work: Work = ray.get(held[0])

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"rows": self.work(Path(row["source"]), Path(row["target"]))}
