"""Parts of Parquet files as Arrow has them, with what pandas keeps of an index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from icl.scale.shards import Shard
from icl.tables.files import did_you_mean


def batches_of(file: Any, n_rows: int, names: list[str] | None, like: Any) -> Iterator[Any]:
    """Arrow tables of `n_rows` rows each; a file without rows gives one of none, with the types of `like`."""
    import pyarrow as pa

    n = 0
    for batch in file.iter_batches(n_rows, columns=names):
        if batch.num_rows:
            yield _with_ranges(pa.Table.from_batches([batch]), n)
            n += batch.num_rows
    if n == 0:
        schema = _with_ranges(file.schema_arrow.empty_table(), 0).schema
        known = set() if like is None else set(like.names)
        typed = [like.field(field.name) if field.name in known else field for field in schema]
        rows = pa.schema(typed, metadata=schema.metadata).empty_table()
        yield rows if names is None else rows.select([name for name in names if name in rows.column_names])


def schema_like(shards: Sequence[Shard], columns: Sequence[str] | None = None) -> Any:
    """Schema of the first shard with rows, or of the first.

    Raises:
        ValueError: for one that lacks some of `columns`.
    """
    if columns is not None:
        for shard in shards:
            check_columns(columns, _schema(shard).names, shard.source)
    return _schema(next((shard for shard in shards if shard.n_rows), shards[0]))


def _schema(shard: Shard) -> Any:
    import pyarrow.parquet as pq

    return _with_ranges(pq.read_schema(shard.source).empty_table(), 0).schema


def check_columns(wanted: Sequence[str], there: Sequence[str], where: Any) -> None:
    """ValueError for names that are not there, or twice."""
    if missing := [name for name in wanted if name not in there]:
        near = did_you_mean(str(missing[0]), list(there))
        raise ValueError(f"columns= names {missing[0]!r}, which {where} lacks{near or '.'} It has {', '.join(there)}.")
    if twice := sorted({name for name in wanted if list(there).count(name) > 1}):
        raise ValueError(f"{where} has several columns called {twice[0]!r}; rename them.")


def _with_ranges(rows: Any, n_before: int) -> Any:
    """Rows with each index that has a name and is noted as a range only, 0 to n, as the column that others are."""
    try:
        noted = rows.schema.pandas_metadata or {}
        ranges = [at for at in noted.get("index_columns", []) if isinstance(at, dict) and at.get("kind") == "range"]
        ranges = [at for at in ranges if isinstance(at["name"], str) and at["name"] not in rows.column_names]
        for at in ranges:
            cells = at["start"] + at["step"] * np.arange(n_before, n_before + rows.num_rows, dtype=np.int64)
            rows = rows.append_column(at["name"], [cells])
            own = {"name": at["name"], "field_name": at["name"], "pandas_type": "int64", "numpy_type": "int64"}
            noted["columns"] = [*noted["columns"], own | {"metadata": None}]
            noted["index_columns"] = [at["name"] if known == at else known for known in noted["index_columns"]]
        if ranges:
            rows = rows.replace_schema_metadata({**rows.schema.metadata, b"pandas": json.dumps(noted).encode()})
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # what another program wrote under pandas' key
    return rows
