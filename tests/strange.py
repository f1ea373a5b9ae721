"""Strange tables, drawn from a seed: every dtype, container and mistake that a table in the wild has shown."""

import datetime
import decimal
import fractions
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa

TAILS = [1e300, -1e300, 5e-324, 1e-300, 1.7e308, 1e9 + 0.5, 0.0, -0.0]


def choice(rng, items):
    return items[rng.integers(len(items))]


def objects(cells) -> np.ndarray:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def picks(rng, n, items):
    return objects([items[i] for i in rng.integers(len(items), size=n)])


def gaps(rng, n, values, missing):
    """Some of the cells become `missing`."""
    values = objects(list(values))
    values[rng.random(n) < choice(rng, [0.0, 0.2, 0.7])] = missing
    return values


def text(rng, n):
    return picks(
        rng, n, ["a", "b", "B ", "", " ", "ä", "日本", "nan", "None", "1", "01", "1e5", "-", "x" * 300, "a\nb"]
    )


def dates(rng, n):
    return pd.to_datetime(rng.integers(-(10**9), 2 * 10**9, n), unit="s")


def arrow(rng, n, values, dtype):
    return pd.array(gaps(rng, n, values, None), dtype=pd.ArrowDtype(dtype))


# Each draws n cells of one kind. Those that only fit cannot take (infinity) are among them: they must be refused.
COLUMNS = {
    "normal": lambda g, n: g.normal(size=n),
    "float32": lambda g, n: g.normal(size=n).astype(np.float32),
    "float16": lambda g, n: (1e4 * g.normal(size=n)).astype(np.float16),
    "longdouble": lambda g, n: np.longdouble("1e400") * g.integers(0, 2, n) + g.normal(size=n),
    "gaps": lambda g, n: np.where(g.random(n) < 0.5, np.nan, g.normal(size=n)),
    "tails": lambda g, n: np.where(g.random(n) < 0.3, g.choice(TAILS, n), g.normal(size=n)),
    "cauchy": lambda g, n: g.standard_cauchy(n) ** 9,
    "infinite": lambda g, n: np.where(g.random(n) < 0.2, np.inf, g.normal(size=n)),
    "constant": lambda g, n: np.full(n, choice(g, [0.0, 1e300, -3.5])),
    "missing": lambda g, n: np.full(n, np.nan),
    "nothing": lambda g, n: objects([None] * n),
    "almost constant": lambda g, n: np.where(np.arange(n) == 0, 1.0, 0.0),
    "integers": lambda g, n: g.integers(-3, 4, n),
    "huge integers": lambda g, n: g.integers(0, 2**64, n, dtype=np.uint64),
    "python integers": lambda g, n: picks(g, n, [10**400, -(10**30), 7, 0, None]),
    "bool": lambda g, n: g.random(n) < 0.5,
    "bool objects": lambda g, n: picks(g, n, [True, False, None]),
    "Int64": lambda g, n: pd.array(gaps(g, n, g.integers(0, 9, n), pd.NA), dtype="Int64"),
    "UInt8": lambda g, n: pd.array(gaps(g, n, g.integers(0, 9, n), pd.NA), dtype="UInt8"),
    "Float64": lambda g, n: pd.array(gaps(g, n, g.normal(size=n), pd.NA), dtype="Float64"),
    "boolean": lambda g, n: pd.array(gaps(g, n, g.random(n) < 0.5, pd.NA), dtype="boolean"),
    "string": lambda g, n: pd.array(gaps(g, n, text(g, n), pd.NA), dtype="string"),
    "text": text,
    "text with gaps": lambda g, n: gaps(g, n, text(g, n), choice(g, [None, np.nan, pd.NA, pd.NaT])),
    "number text": lambda g, n: objects([f"{v:.3g}" for v in g.normal(size=n)]),
    "number text and words": lambda g, n: picks(g, n, ["1", "2.5", "-3", "?", "1,5", "1_000", "inf", "0x1f"]),
    "identifiers": lambda g, n: objects([str(uuid.UUID(int=int(i))) for i in g.integers(0, 2**60, n)]),
    "bytes": lambda g, n: picks(g, n, [b"a", b"b", b""]),
    "category": lambda g, n: pd.Categorical(gaps(g, n, picks(g, n, ["r", "g", "b"]), None)),
    "category of numbers": lambda g, n: pd.Categorical(gaps(g, n, g.integers(0, 3, n), None)),
    "category unused": lambda g, n: pd.Categorical(picks(g, n, ["r", "g"]), categories=["z", "r", "g", "y"]),
    "ordered": lambda g, n: pd.Categorical(picks(g, n, ["lo", "hi"]), categories=["lo", "mid", "hi"], ordered=True),
    "ordered numbers": lambda g, n: pd.Categorical(picks(g, n, [3, 1]), categories=[1, 2, 3], ordered=True),
    "interval": lambda g, n: pd.cut(g.normal(size=n), [-9, -1, 0, 1, 9]),
    "period": lambda g, n: dates(g, n).to_period("M"),
    "dates": dates,
    "dates with gaps": lambda g, n: pd.to_datetime(gaps(g, n, dates(g, n), pd.NaT)),
    "dates in a zone": lambda g, n: dates(g, n).tz_localize("UTC").tz_convert("America/New_York"),
    "dates in two zones": lambda g, n: objects(
        [pd.Timestamp(2024, 1, int(d), tz=choice(g, ["UTC", "Asia/Tokyo"])) for d in g.integers(1, 28, n)]
    ),
    "python dates": lambda g, n: gaps(g, n, [datetime.date(int(v), 1, 2) for v in g.integers(1, 9999, n)], None),
    "python times": lambda g, n: objects([datetime.datetime(2024, 1, 1, int(h)) for h in g.integers(0, 24, n)]),
    "times of day": lambda g, n: objects([datetime.time(int(h), 5) for h in g.integers(0, 24, n)]),
    "seconds": lambda g, n: g.integers(0, 2**40, n).astype("datetime64[s]"),
    "durations": lambda g, n: pd.to_timedelta(g.normal(size=n), unit="D"),
    "python durations": lambda g, n: gaps(g, n, [datetime.timedelta(days=int(v)) for v in g.integers(0, 9, n)], None),
    "decimals": lambda g, n: gaps(g, n, [decimal.Decimal(int(v)) / 7 for v in g.integers(0, 99, n)], None),
    "odd decimals": lambda g, n: picks(g, n, [decimal.Decimal("NaN"), decimal.Decimal("1E+999"), decimal.Decimal(2)]),
    "fractions": lambda g, n: objects([fractions.Fraction(int(v), 3) for v in g.integers(0, 99, n)]),
    "complex": lambda g, n: g.normal(size=n) + 1j,
    "complex objects": lambda g, n: picks(g, n, [1 + 2j, 2.0, None]),
    "lists": lambda g, n: picks(g, n, [[1], [1, 2], [], None]),
    "dictionaries": lambda g, n: picks(g, n, [{}, {"a": 1}, None]),
    "arrays": lambda g, n: objects([np.arange(int(k)) for k in g.integers(0, 3, n)]),
    "tuples": lambda g, n: picks(g, n, [(1, 2), (), ("a",)]),
    "anything": lambda g, n: picks(
        g, n, [1, 1.0, True, "1", None, np.nan, pd.NA, pd.NaT, b"1", 2.5, (1,), pd.Timestamp(0), frozenset(), object]
    ),
    "numbers and words": lambda g, n: picks(g, n, [1, 2, 3.5, "many", None]),
    "dates and words": lambda g, n: picks(g, n, [pd.Timestamp(0), "never", None]),
    "sparse": lambda g, n: pd.arrays.SparseArray(np.where(g.random(n) < 0.5, 0.0, g.normal(size=n))),
    "arrow integers": lambda g, n: arrow(g, n, g.integers(0, 9, n).tolist(), pa.int32()),
    "arrow floats": lambda g, n: arrow(g, n, g.normal(size=n).tolist(), pa.float64()),
    "arrow bool": lambda g, n: arrow(g, n, (g.random(n) < 0.5).tolist(), pa.bool_()),
    "arrow text": lambda g, n: arrow(g, n, text(g, n), pa.string()),
    "arrow dates": lambda g, n: arrow(g, n, [datetime.date(2024, 1, int(d)) for d in g.integers(1, 9, n)], pa.date32()),
    "arrow times": lambda g, n: arrow(g, n, list(dates(g, n)), pa.timestamp("us", tz="Asia/Tokyo")),
    "arrow durations": lambda g, n: arrow(g, n, list(pd.to_timedelta(g.integers(0, 9, n), unit="h")), pa.duration("s")),
    "arrow decimals": lambda g, n: arrow(g, n, [*map(decimal.Decimal, range(n))], pa.decimal128(9)),
    "arrow clock": lambda g, n: arrow(g, n, [datetime.time(int(h)) for h in g.integers(0, 24, n)], pa.time32("s")),
    "arrow lists": lambda g, n: arrow(g, n, [[int(v)] for v in g.integers(0, 3, n)], pa.list_(pa.int64())),
    "arrow levels": lambda g, n: pa.array(["a", None, *picks(g, n, ["a", "b"])])[2:].dictionary_encode().to_pandas(),
    "arrow nothing": lambda g, n: pd.array([None] * n, dtype=pd.ArrowDtype(pa.null())),
}  # fmt: skip

LABELS = {
    "integers": lambda g, n: g.integers(0, choice(g, [2, 3, 12]), n),
    "floats": lambda g, n: g.integers(0, 3, n).astype(float),
    "text": lambda g, n: picks(g, n, ["no", "yes", "maybe", ""]),
    "bool": lambda g, n: g.random(n) < 0.5,
    "category": lambda g, n: pd.Series(pd.Categorical(picks(g, n, ["no", "yes"]), categories=["yes", "no", "never"])),
    "Int64": lambda g, n: pd.Series(g.integers(0, 3, n), dtype="Int64"),
    "boolean": lambda g, n: pd.Series(g.random(n) < 0.5, dtype="boolean"),
    "string": lambda g, n: pd.Series(picks(g, n, ["no", "yes"]), dtype="string"),
    "arrow": lambda g, n: pd.Series(picks(g, n, ["no", "yes"]), dtype="string[pyarrow]"),
    "dates": lambda g, n: dates(g, n),
    "one": lambda g, n: np.zeros(n),
    "each its own": lambda g, n: np.arange(n),
    "mixed": lambda g, n: picks(g, n, ["no", 1, 2.5]),
    "tuples": lambda g, n: picks(g, n, [(1, 2), (1, 3)]),
}
TARGETS = {
    "normal": lambda g, n: g.normal(size=n),
    "float32": lambda g, n: g.normal(size=n).astype(np.float32),
    "integers": lambda g, n: g.integers(0, 9, n),
    "counts": lambda g, n: g.poisson(0.3, n),
    "tails": lambda g, n: g.choice([*TAILS, 1.0], n),
    "far": lambda g, n: 1.6e9 + g.normal(size=n),
    "tiny": lambda g, n: 1e-310 * g.normal(size=n),
    "Float64": lambda g, n: pd.Series(g.normal(size=n), dtype="Float64"),
    "arrow": lambda g, n: pd.Series(g.normal(size=n), dtype="float64[pyarrow]"),
    "decimals": lambda g, n: objects([decimal.Decimal(int(v)) for v in g.integers(0, 99, n)]),
    "bool": lambda g, n: g.random(n) < 0.5,
    "durations": lambda g, n: pd.to_timedelta(g.normal(size=n), unit="D"),
    "number text": lambda g, n: objects([str(v) for v in g.integers(0, 9, n)]),
}
BAD_TARGETS = {
    "gaps": lambda g, n: np.where(g.random(n) < 0.3, np.nan, 1.0 * g.integers(0, 2, n)),
    "nullable gaps": lambda g, n: pd.Series(gaps(g, n, g.integers(0, 2, n), pd.NA), dtype="Int64"),
    "infinite": lambda g, n: np.where(g.random(n) < 0.3, np.inf, 1.0),
    "complex": lambda g, n: g.normal(size=n) + 1j,
    "constant": lambda g, n: np.full(n, 2.5),
    "long": lambda g, n: g.integers(0, 2, n + 1),
    "two columns": lambda g, n: g.normal(size=(n, 2)),
    "none": lambda g, n: None,
    "scalar": lambda g, n: 3,
    "words": lambda g, n: picks(g, n, ["a", "b"]),
    "objects": lambda g, n: picks(g, n, [object(), None]),
    "lists": lambda g, n: picks(g, n, [[1], [2]]),
}  # fmt: skip
NAMES = ["a", "b b", "", "ä", 3, 2.5, ("m", 1), "class", "a.b", "日本"]


def strange_table(seed: int):
    """context X, y for a classifier, y for a regressor, query X; the query mostly looks like the context."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 16)), int(rng.integers(0, 5))
    names = [NAMES[i] for i in rng.permutation(len(NAMES))[: rng.integers(1, 5)]]
    kinds = [choice(rng, list(COLUMNS)) for _ in names]
    X = frame(rng, n, names, kinds)
    odd = [choice(rng, list(COLUMNS)) if rng.random() < 0.08 else kind for kind in kinds]
    query = frame(rng, m, names, odd)
    X, query = mistakes(rng, X, query)
    shape = rng.random()
    if shape < 0.1:
        X, query = X.to_numpy(dtype=object), query.to_numpy(dtype=object)
    elif shape < 0.15:
        X, query = X.astype(object).to_numpy().tolist(), query.astype(object).to_numpy().tolist()
    elif shape < 0.2:
        X, query = (np.ma.masked_array(rng.normal(size=(k, 3)), rng.random((k, 3)) < 0.3) for k in (n, m))
    bad = rng.random() < 0.1
    labels = choice(rng, list((BAD_TARGETS if bad else LABELS).values()))(rng, n)
    target = choice(rng, list((BAD_TARGETS if bad else TARGETS).values()))(rng, n)
    return X, labels, target, query


def frame(rng, n: int, names: list, kinds: list) -> pd.DataFrame:
    index = rng.permutation(n) if rng.random() < 0.5 else np.zeros(n, dtype=int)
    columns = [pd.Series(COLUMNS[kind](rng, n), index=index) for kind in kinds]
    table = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    table.columns = pd.Index(names, tupleize_cols=False)
    return table


def mistakes(rng, X: pd.DataFrame, query: pd.DataFrame):
    luck = rng.random()
    if luck < 0.02:
        X = X.set_axis([X.columns[0]] * X.shape[1], axis=1)
    elif luck < 0.04:
        query = query.iloc[:, 1:]
    elif luck < 0.06:
        query = query.assign(extra=1.0)
    elif luck < 0.08:
        X = X.iloc[:0]
    elif luck < 0.1:
        X = X.iloc[:, :0]
    elif luck < 0.3:
        query = query.iloc[:, ::-1]
    elif luck < 0.35:
        query = query.rename(columns={X.columns[0]: "other"})
    return X, query
