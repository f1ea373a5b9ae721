"""Unlabeled rows that do not fit in memory: read from a file, in batches, as often as the engine asks.

What the engine needs of unlabeled rows are sums, so memory holds one batch whatever N is. Least squares and means take
two or three passes over the file, logistic regression about six.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.engine.clusters import GroupSums
from icl.inference.engine.problem import Sampling
from icl.inference.engine.rows import Rows, RowSource, Sums, add_up
from icl.inference.engine.surrogate import Surrogate
from icl.inference.estimands import Estimand
from icl.inference.frames import levels_of, plain_frame
from icl.inference.inputs.batches import BATCH, FrameReader, thinned
from icl.inference.inputs.blocks import BlockRows, ray_engine
from icl.inference.inputs.design import ResolvedDesign
from icl.inference.inputs.predictions import column_names, read_predictions
from icl.inference.inputs.sample import Sample

if TYPE_CHECKING:
    import pandas as pd


def open_batches(unlabeled: Any, columns: list[str]) -> Callable[[], Iterator[pd.DataFrame]]:
    """A function that starts a fresh pass over `unlabeled`, giving DataFrames with these columns.

    Args:
        unlabeled: path of a Parquet file or of a folder of them; a pyarrow Dataset or Table; a Hugging Face `Dataset`;
            or a function that returns a fresh iterator over DataFrames, Arrow tables, record batches or dicts.
    Raises:
        ValueError: for anything else, an iterator that can be read once only, and files without the columns.
    """
    if isinstance(unlabeled, (str, Path)):
        import pyarrow.dataset

        path = Path(unlabeled)
        if not path.exists():
            raise ValueError(f"unlabeled= got the path {str(path)!r}, where there is no file or folder.")
        unlabeled = pyarrow.dataset.dataset(path, format="parquet")
    name = f"{type(unlabeled).__module__}.{type(unlabeled).__name__}"
    if hasattr(unlabeled, "to_batches") and hasattr(unlabeled, "schema"):
        _require(list(unlabeled.schema.names), columns)
        return lambda: (plain_frame(batch.to_pandas()) for batch in _arrow_batches(unlabeled, columns))
    if hasattr(unlabeled, "with_format") and hasattr(unlabeled, "column_names"):
        _require(list(unlabeled.column_names), columns)
        arrow = unlabeled.select_columns(columns).with_format("arrow") if columns else unlabeled.with_format("arrow")
        return lambda: (plain_frame(batch.to_pandas()) for batch in arrow.iter(batch_size=BATCH))
    if callable(unlabeled):
        return lambda: (_as_frame(batch, columns) for batch in unlabeled())
    if hasattr(unlabeled, "__next__"):
        raise ValueError(
            f"unlabeled= got a {name}, which can be read once only, and estimation takes several passes. Pass a "
            "function that returns a fresh iterator: unlabeled=lambda: read_batches(...)."
        )
    raise ValueError(
        f"unlabeled= got a {name}; pass a DataFrame, a dict of columns, the path of a Parquet file, a pyarrow, Ray "
        "or Hugging Face dataset, or a function that returns a fresh iterator over batches."
    )


@dataclass
class StreamRows(RowSource):
    """Rows of batches, as designs and predictions; one pass at the start counts, checks and samples them."""

    read: FrameReader
    open: Callable[[], Iterator[pd.DataFrame]]
    n_rows: int = 0
    _sample: Rows | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        X: list[np.ndarray] = []
        Y: list[np.ndarray] = []
        step, seen = 1, 0
        for rows in self.chunks():
            self.read.check(rows, seen)
            first = -seen % step
            # Copies: a view would keep its whole batch alive.
            X.append(rows.X[first::step].copy())
            Y.append(rows.Y[first::step].copy())
            seen += len(rows)
            X, Y, step = thinned(X, Y, step)
        if not seen:
            raise ValueError("unlabeled= has no rows; leave it out for the classical answer.")
        self.n_rows = seen
        self._sample = Rows(np.concatenate(X), np.concatenate(Y))

    def __len__(self) -> int:
        return self.n_rows

    @property
    def total_weight(self) -> float:
        return float(self.n_rows)

    def add_up(self, of: Callable[[Rows], Sums], total: Sums | None = None) -> Sums:
        return add_up(self.chunks(), of, total)

    def chunks(self) -> Iterator[Rows]:
        for frame in self.open():
            yield from self.read(frame)

    def sample(self, limit: int) -> Rows:
        assert self._sample is not None, "ask after the first pass"
        return self._sample.sample(limit)


def stream_columns(predictor: Any, predictions: Any, columns: Collection, compat: str | None, solver: str) -> list:
    """Names of the prediction columns; ValueError for what a stream of rows cannot serve."""
    if predictor is not None:
        raise ValueError(
            "predictor= needs unlabeled= in memory. Predict in batches first, with models that have not seen the "
            "labels they are compared with, write the predictions to a column, and pass predictions='column'."
        )
    if solver == "bootstrap":
        raise ValueError("a Statistic needs unlabeled= in memory; use MEstimand, which reads batches.")
    if compat is not None:
        raise ValueError(f"compat={compat!r} needs unlabeled= in memory; read the rows, or drop compat.")
    if not (names := column_names(predictions, columns, BATCH)):
        raise ValueError(
            f"predictions= got {type(predictions).__name__}; for unlabeled rows that come in batches, name the "
            "column(s) that hold the predictions."
        )
    return names


def read_stream(
    estimand: Estimand,
    sample: Sample,
    predictor: Any,
    predictions: Any,
    compat: str | None,
    drawn: ResolvedDesign,
) -> tuple[Surrogate, np.ndarray, RowSource, ResolvedDesign]:
    """Surrogate, an empty design matrix (0, p), the rows that come in batches, and `drawn` with their clusters."""
    clusters = drawn.clusters
    names = stream_columns(predictor, predictions, sample.labeled.columns, compat, estimand.solver)
    surrogate = read_predictions(sample, names, estimand)
    estimand.check_predictions(surrogate.f_labeled, "labeled")
    if clusters is not None and estimand.solver == "inversion":
        raise ValueError(
            "a quantile with clusters needs unlabeled= in memory; a share, Mean(..., event=...), does not."
        )
    columns = list(dict.fromkeys([*estimand.covariate_columns, *names, *([] if clusters is None else [clusters])]))
    learn = getattr(estimand, "designer", None)
    matrix = learn(sample.labeled) if learn else lambda frame: estimand.design(frame)[0]
    reader = FrameReader(estimand, matrix, names, clusters)
    rows: RowSource
    if is_ray_dataset(sample.stream):
        _require(list(sample.stream.columns()), columns)
        rows = BlockRows(reader, ray_engine(sample.stream, columns))
    else:
        rows = StreamRows(reader, open_batches(sample.stream, columns))
    if clusters is not None:
        of_labeled = sample.labeled[clusters].to_numpy()
        drawn = replace(drawn, sampling=_with_clusters(drawn.sampling, of_labeled, rows))
    return replace(surrogate, f_unlabeled=None), np.empty((0, rows.sample(1).X.shape[1])), rows, drawn


def _with_clusters(sampling: Sampling, labeled: np.ndarray, rows: RowSource) -> Sampling:
    """A sampling whose clusters are those of labeled rows, by name (n,), and of rows that come in batches; one pass."""
    names, sizes = rows.add_up(lambda chunk: (GroupSums.of(chunk.groups, np.ones(len(chunk))),))[0].result()
    code, n = levels_of(np.concatenate([labeled, names]))[1], len(labeled)
    return replace(sampling, clusters_labeled=code[:n], clusters_unlabeled=code[n:], sizes_unlabeled=sizes)


def is_ray_dataset(data: Any) -> bool:
    """Whether `data` is a Ray Dataset; asks its type, so that Ray need not be there."""
    return type(data).__module__.startswith("ray.data") and hasattr(data, "map_batches")


def _arrow_batches(data: Any, columns: list[str]) -> Iterator[Any]:
    if not hasattr(data, "scanner"):
        yield from data.select(columns).to_batches(max_chunksize=BATCH)
        return
    import pyarrow.dataset

    options = {}
    if getattr(getattr(data, "format", None), "default_extname", None) == "parquet":
        # Buffered ahead, as is the default, a pass ends up holding the file: 1.4 GB of ten million rows.
        scan = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
        options["fragment_scan_options"] = scan
    yield from data.to_batches(columns=columns, batch_size=BATCH, batch_readahead=2, fragment_readahead=1, **options)


def _as_frame(batch: Any, columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    if hasattr(batch, "to_pandas"):
        batch = batch.to_pandas()
    elif not isinstance(batch, pd.DataFrame):
        batch = pd.DataFrame(batch)
    _require(list(batch.columns), columns)
    return plain_frame(batch)


def _require(have: list[str], columns: list[str]) -> None:
    absent = [name for name in columns if name not in have]
    if absent:
        raise ValueError(f"unlabeled= has no column {absent}; it has: {', '.join(map(str, have[:12]))}.")
