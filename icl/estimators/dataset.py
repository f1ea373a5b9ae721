"""Predictions for more rows than fit in memory: Parquet shards, here or on the workers of Ray, or a Ray Dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icl.atomic import replacing
from icl.estimators.answers import Wanted, answers, beside
from icl.estimators.host import Host
from icl.scale.engines import check_engine, n_cpus, start
from icl.scale.shards import Report, work_through

_MOST_ROWS, _FEWEST_ROWS = 65_536, 256
# Bytes that a cell of the query rows takes until it is in the network: as read, as float64, encoded, dressed.
_BYTES_A_CELL = 64


@dataclass(frozen=True)
class ScoreShard:
    """Answers for the rows of one Parquet file, written as another."""

    model: Any
    wanted: Wanted
    columns: tuple[str, ...] | None
    """Of the file, that stand beside the answers; None for all."""
    identity: dict[str, Any]

    def __call__(self, source: Path, target: Path) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        n_rows, writer = 0, None
        with replacing(target) as partial, pq.ParquetFile(source) as file:
            names = None if self.columns is None else list(dict.fromkeys([*_needed(self.model, file), *self.columns]))
            try:
                for batch in file.iter_batches(batch_rows(self.model), columns=names):
                    made = pa.Table.from_pandas(self.frame(batch.to_pandas()), preserve_index=False)
                    writer = writer or pq.ParquetWriter(partial, made.schema)
                    writer.write_table(made.cast(writer.schema))
                    n_rows += made.num_rows
                if writer is None:  # no rows: an empty table with the columns that were there
                    pq.write_table(file.schema_arrow.empty_table(), partial)
            finally:
                if writer is not None:
                    writer.close()
        return n_rows

    def frame(self, rows: Any) -> Any:
        """Rows, or the columns of them that are kept, and the answers beside them."""
        known = getattr(self.model, "feature_names_in_", None)
        X = rows if known is None else rows[[name for name in known if name in rows]]
        shown = rows if self.columns is None else rows[list(self.columns)]
        return beside(shown, answers(self.model, X, self.wanted).columns)


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
        columns: Sequence[str] | None = None,
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
            columns: of the input, that are written beside the answers; default: all.
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
        wanted = Wanted(proba, tuple(quantiles), interval)
        wanted.check(self)
        kept = None if columns is None else tuple(columns)
        identity = {"model": identity_of(self), "wanted": asdict(wanted), "columns": kept}
        work = ScoreShard(self, wanted, kept, identity)
        if hasattr(data, "map_batches"):
            if output is not None:
                raise ValueError("output= is for a folder; a Ray Dataset gives one: .write_parquet(output) writes it.")
            return _of_ray(work, data, workers, gpus)
        if output is None:
            raise ValueError("output= is missing: name the folder that the answers are written to.")
        folder, out = Path(data).expanduser(), Path(output).expanduser()
        return work_through(work, folder, out, engine, workers, gpus)


def identity_of(estimator: Any) -> dict[str, Any]:
    """What decides the answers of a fitted estimator, as text: parameters, context and weights."""
    fitted = estimator.answering()  # says so if nothing was fitted
    state = vars(estimator)
    shown = {k: repr(v) for k, v in estimator.get_params(deep=False).items() if k not in ("checkpoint", "device")}
    context, weights = hashlib.sha256(), hashlib.sha256()
    for name in ("_context_NF", "_y_N"):
        context.update(np.ascontiguousarray(state[name]).tobytes())
    for value in fitted.model.state_dict().values():
        weights.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    own = {"class": type(estimator).__name__, "context": context.hexdigest(), "weights": weights.hexdigest()}
    return own | shown


def batch_rows(estimator: Any) -> int:
    """Rows read at a time, such that their cells take a tenth of the memory that predictions may take.

    What the network makes of them is cut once more, by what it takes (`icl.prediction.memory`).
    """
    n_columns = max(1, estimator.n_features_in_)
    rows = 0.1 * estimator.memory_gb * 1e9 / (_BYTES_A_CELL * n_columns)
    return int(np.clip(rows, _FEWEST_ROWS, _MOST_ROWS))


def _needed(estimator: Any, file: Any) -> list[str]:
    known = getattr(estimator, "feature_names_in_", None)
    return list(file.schema_arrow.names) if known is None else [n for n in known if n in file.schema_arrow.names]


def _of_ray(work: ScoreShard, data: Any, workers: int | None, gpus: float) -> Any:
    ray = start()
    held = [ray.put(work)]  # in a list it arrives as the reference that it is
    return data.map_batches(
        _Scorer,
        fn_constructor_args=(held,),
        batch_format="pandas",
        batch_size=batch_rows(work.model),
        compute=ray.data.ActorPoolStrategy(size=workers or n_cpus(ray)),
        num_cpus=1,
        num_gpus=gpus or None,
    )
