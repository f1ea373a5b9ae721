"""Predictions for more rows than fit in memory: Parquet shards, here or on the workers of Ray, or a Ray Dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from icl.atomic import replacing
from icl.estimators.answers import Wanted, answers, names_beside
from icl.estimators.arrow import batches_of, check_columns, schema_like
from icl.estimators.host import Host
from icl.estimators.identity import identity_of
from icl.scale.engines import check_engine, n_cpus, start
from icl.scale.shards import Report, shards_of, work_through

_MOST_ROWS, _FEWEST_ROWS = 65_536, 256
# Bytes that a cell of the query rows takes until it is in the network: as read, as float64, encoded, dressed.
_BYTES_A_CELL = 64


@dataclass(frozen=True)
class ScoreShard:
    """Answers for the rows of one Parquet file, written as another. What passes through stays as Arrow has it."""

    model: Any
    wanted: Wanted
    columns: tuple[str, ...] | None
    """Of the file, that stand beside the answers; None for all."""
    identity: dict[str, Any]
    like: Any = None
    """Schema of a file with rows: one without has its types, where its own tell little."""

    def __call__(self, source: Path, target: Path) -> int:
        import pyarrow.parquet as pq

        n_rows, writer = 0, None
        with replacing(target) as partial:
            try:
                for rows, X in self.parts(source):
                    made = self.beside(rows, X)
                    writer = writer or pq.ParquetWriter(partial, made.schema)
                    writer.write_table(made)
                    n_rows += made.num_rows
            finally:
                if writer is not None:
                    writer.close()
        return n_rows

    def parts(self, source: Path) -> Iterator[tuple[Any, Any]]:
        """Rows of a file, a part after the other, at least one; and what of them is asked."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(source) as file:
            for rows in batches_of(file, batch_rows(self.model), self._needed(file.schema_arrow), self.like):
                yield rows, self._features(rows)

    def frame(self, rows: Any) -> Any:
        """The columns of an Arrow table that are kept, and the answers beside them."""
        return self.beside(rows, self._features(rows))

    def beside(self, rows: Any, X: Any) -> Any:
        """The kept columns of `rows`, untouched, and the answers for `X` beside them."""
        import pyarrow as pa

        kept = rows.column_names if self.columns is None else list(self.columns)
        check_columns(kept, rows.column_names, "a part of the input")
        shown = rows.select(kept)
        made = _arrow_answers(self.model, X, self.wanted)
        fields = [
            field.with_name(name) for field, name in zip(made.schema, names_beside(kept, made.column_names).values())
        ]
        # What another library notes of all columns ("huggingface") would be wrong; what pandas notes of each is kept.
        noted = {k: v for k, v in (rows.schema.metadata or {}).items() if k != b"huggingface"}
        return pa.Table.from_arrays(
            [*shown.columns, *made.columns], schema=pa.schema([*shown.schema, *fields], metadata=noted)
        )

    def _features(self, rows: Any) -> Any:
        """The rows as pandas reads them, with the columns of `fit`; what the file has as an index may be one."""
        try:
            frame = rows.to_pandas()
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            frame = rows.replace_schema_metadata(None).to_pandas()  # of what another program wrote under pandas' key
        known = getattr(self.model, "feature_names_in_", None)
        if known is None:
            return frame
        if hidden := [name for name in known if name not in frame and name in frame.index.names]:
            frame = frame.reset_index(hidden)
        return frame[[name for name in known if name in frame]]

    def _needed(self, schema: Any) -> list[str] | None:
        """Names of the columns that are read; None for all."""
        known = getattr(self.model, "feature_names_in_", None)
        if self.columns is None or known is None:
            return None
        return list(dict.fromkeys([*(name for name in known if name in schema.names), *self.columns]))


def _arrow_answers(model: Any, X: Any, wanted: Wanted) -> Any:
    """The columns of answers as an Arrow table, whose types are the same for all rows, and for none."""
    import pyarrow as pa

    # Without rows there is nothing to ask; a row that was labelled has answers of the same types.
    columns = answers(model, X if len(X) else model._labeled[0].head(1), wanted).columns
    classes = getattr(model, "classes_", None)
    types = {} if classes is None else {"prediction": pa.array(classes).type}
    made = {
        name: pa.array(values, type=types.get(name, None if isinstance(values, np.ndarray) else pa.string()))
        for name, values in columns.items()
    }
    return pa.table(made) if len(X) else pa.table(made).slice(0, 0)


class _Scorer:
    """One worker of Ray, with the fitted estimator; batches of a Ray Dataset become batches with answers."""

    def __init__(self, held: list):
        import ray

        self.work: ScoreShard = ray.get(held[0])

    def __call__(self, rows: Any) -> Any:
        return self.work.frame(rows)


class DatasetMixin(Host):
    """`predict_dataset`."""

    def predict_dataset(
        self,
        data: Any,
        output: str | os.PathLike | None = None,
        *,
        columns: Sequence[str] | str | None = None,
        proba: bool = False,
        quantiles: Sequence[float] = (),
        interval: float | None = None,
        engine: str = "local",
        workers: int | None = None,
        gpus: float = 0.0,
    ) -> Report | Any:
        """Predictions for a folder of Parquet files, written as a folder of them; or for a Ray Dataset.

        Each file of the output is there whole or not at all, and the same call continues a run that was interrupted.
        The answers are those of `predict`, whatever the engine and the number of workers. Workers of Ray get the fitted
        estimator once, and its weights from the checkpoint, whose path must be theirs too (shipped ones are).

        Args:
            data: a folder, or a Ray Dataset, which gives one with the answers beside its columns, made when it is read.
            output: a new folder, or that of an earlier run; for a folder only.
            columns: of the input, that are written beside the answers, as they are there; default: all.
            proba, quantiles, interval: as the options of `icl predict`: probabilities of classes, quantiles of numbers,
                coverage of conformal intervals (or sets of classes).
            engine: for a folder: "local", this process, or "ray", with the extra of that name.
            workers: processes of Ray; default: one on every core.
            gpus: GPUs of each worker of Ray; a fraction shares one.
        Returns:
            for a folder a `Report` with n_rows, n_shards, n_before (done by an earlier run) and seconds.
        Raises:
            ValueError, OSError: for what cannot be read or written, before any work; for an output that holds answers
                of another kind; and where Ray is asked for and not installed, saying what to install.

        Examples:
            >>> import icl, pandas as pd, tempfile
            >>> from pathlib import Path
            >>> table = pd.DataFrame({"a": range(20), "b": [0.5, 1.0] * 10})
            >>> model = icl.ICLRegressor("nano", n_estimators=1, companions=()).fit(table, table["a"] + table["b"])
            >>> folder = Path(tempfile.mkdtemp())
            >>> (folder / "rows").mkdir()
            >>> table.to_parquet(folder / "rows" / "part-0.parquet")
            >>> model.predict_dataset(folder / "rows", folder / "answers").n_rows
            20
        """
        check_engine(engine)
        wanted = Wanted(bool(proba), tuple(map(float, quantiles)), None if interval is None else float(interval))
        wanted.check(self)
        given = [columns] if isinstance(columns, str) else columns
        kept = None if given is None else tuple(dict.fromkeys(given))
        identity = {"model": identity_of(self), "wanted": asdict(wanted), "columns": kept}
        work = ScoreShard(self, wanted, kept, identity)
        if hasattr(data, "map_batches"):
            if output is not None:
                raise ValueError("output= is for a folder; a Ray Dataset gives one: .write_parquet(output) writes it.")
            return _of_ray(work, data, workers, gpus)
        if output is None:
            raise ValueError("output= is missing: name the folder that the answers are written to.")
        folder, out = Path(data).expanduser(), Path(output).expanduser()
        work = replace(work, like=schema_like(shards_of(folder, out), kept))
        return work_through(work, folder, out, engine, workers, gpus)


def batch_rows(estimator: Any) -> int:
    """Rows read at a time, such that their cells take a tenth of the memory that predictions may take.

    What the network makes of them is cut once more, by what it takes (`icl.prediction.memory`).
    """
    n_columns = max(1, estimator.n_features_in_)
    rows = 0.1 * estimator.memory_gb * 1e9 / (_BYTES_A_CELL * n_columns)
    return int(np.clip(rows, _FEWEST_ROWS, _MOST_ROWS))


def _of_ray(work: ScoreShard, data: Any, workers: int | None, gpus: float) -> Any:
    ray = start()
    held = [ray.put(work)]  # in a list it arrives as the reference that it is
    return data.map_batches(
        _Scorer,
        fn_constructor_args=(held,),
        batch_format="pyarrow",
        batch_size=batch_rows(work.model),
        compute=ray.data.ActorPoolStrategy(size=workers or n_cpus(ray)),
        num_cpus=1,
        num_gpus=gpus or None,
    )
