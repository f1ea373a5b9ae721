"""Rows from a file give the answer that they give in memory, whatever the batches."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from lean import BEGIN
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression

from icl.inference import OLS, Design, Logistic, Mean, Multinomial, Poisson, Quantile, Shares, Statistic, infer
from icl.inference.inputs.batches import FrameReader
from icl.inference.inputs.stream import StreamRows

N_LABELED, N_UNLABELED = 200, 12_000


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    n = N_LABELED + N_UNLABELED
    table = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    table["group"] = rng.choice(list("uvw"), n)
    eta = 0.3 * table["a"] - 0.2 * table["b"]
    table["y"] = eta + rng.normal(size=n)
    table["f"] = eta + 0.5 * (table["y"] - eta) + 0.3 * rng.normal(size=n)
    table["event"], table["p"] = (table["y"] > 0).astype(float), 1 / (1 + np.exp(-2 * table["f"]))
    table["count"], table["mu"] = rng.poisson(np.exp(eta)).astype(float), np.exp(0.5 * table["f"])
    table["level"] = np.digitize(table["y"], [-0.5, 0.5])
    raw = np.exp(np.column_stack([np.zeros(n), table["f"], 2 * table["f"]]))
    table[["q0", "q1", "q2"]] = raw / raw.sum(axis=1, keepdims=True)
    table["judge"] = np.digitize(table["f"], [-0.5, 0.5])
    return table[:N_LABELED], table[N_LABELED:].drop(columns=["y", "event", "count", "level"])


@pytest.fixture(scope="module")
def path(rows, tmp_path_factory):
    file = tmp_path_factory.mktemp("stream") / "unlabeled.parquet"
    rows[1].to_parquet(file, row_group_size=2_100)
    return file


CASES = {
    "mean": (Mean("y"), "f"),
    "group means": (Mean("y", by="group"), "f"),
    "two means": (Mean(["y", "event"]), ["f", "p"]),
    "ols": (OLS("y ~ a * group"), "f"),
    "ols of columns": (OLS("y", covariates=["a", "b"]), "f"),
    "logistic": (Logistic("event ~ a + b"), "p"),
    "poisson": (Poisson("count ~ a"), "mu"),
    "multinomial": (Multinomial("level ~ a"), ["q0", "q1", "q2"]),
    "shares": (Shares("level"), ["q0", "q1", "q2"]),
    "shares from classes": (Shares("level"), "judge"),
    "multinomial from classes": (Multinomial("level ~ a"), "judge"),
    "median": (Quantile("y"), "f"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weight", ["auto", "ppi++", "matrix", 1])
def test_parquet_equals_memory(rows, path, name, weight):
    estimand, f = CASES[name]
    labeled, unlabeled = rows
    memory = infer(estimand, labeled=labeled, unlabeled=unlabeled, predictions=f, weight=weight)
    stream = infer(estimand, labeled=labeled, unlabeled=str(path), predictions=f, weight=weight)
    assert stream.n_unlabeled == N_UNLABELED
    assert_allclose(stream.estimate, memory.estimate, rtol=1e-10)
    assert_allclose(stream.covariance, memory.covariance, rtol=1e-10, atol=1e-14)
    assert_allclose(stream.interval(), memory.interval(), rtol=1e-10)


def test_every_source_of_batches_is_one(rows, path):
    import datasets
    import pyarrow.dataset
    import pyarrow.parquet

    labeled, unlabeled = rows
    options = dict(labeled=labeled, predictions="f")
    memory = infer(OLS("y ~ a + group"), unlabeled=unlabeled, **options)
    uneven = [0, 1, 1_500, 1_500, N_UNLABELED - 1, N_UNLABELED]
    sources = {
        "arrow table": pyarrow.parquet.read_table(path),
        "arrow dataset": pyarrow.dataset.dataset(path),
        "folder": path.parent,
        "hugging face": datasets.Dataset.from_pandas(unlabeled, preserve_index=False),
        "frames": lambda: (unlabeled[i:j] for i, j in itertools.pairwise(uneven)),
        "dicts": lambda: (dict(unlabeled[i : i + 2_700]) for i in range(0, N_UNLABELED, 2_700)),
        "record batches": lambda: pyarrow.parquet.ParquetFile(path).iter_batches(999),
    }
    for name, source in sources.items():
        stream = infer(OLS("y ~ a + group"), unlabeled=source, **options)
        assert_allclose(stream.estimate, memory.estimate, rtol=1e-10, err_msg=name)
        assert_allclose(stream.covariance, memory.covariance, rtol=1e-10, err_msg=name)


def test_the_sample_for_diagnostics_is_bounded_and_spans_the_file(monkeypatch):
    monkeypatch.setattr("icl.inference.inputs.batches.SAMPLE", 500)
    frames = lambda: (pd.DataFrame({"f": np.arange(i, i + 1_000.0)}) for i in range(0, 50_000, 1_000))
    source = StreamRows(FrameReader(Mean("y"), lambda frame: np.ones((len(frame), 1)), ["f"]), frames)
    f = source.sample(500).Y[:, 0]
    assert len(source) == 50_000 and 200 < len(f) <= 500
    assert f.min() < 500 and f.max() > 49_000 and np.ptp(np.diff(f)) < 200


def test_shifted_files_are_flagged(rows, path):
    labeled = rows[0].assign(f=rows[0]["f"] + 3)
    result = infer(Mean("y"), labeled=labeled, unlabeled=path, predictions="f")
    assert "shift" in [finding.code for finding in result.diagnostics]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Peak memory of a process that reads 6 times as many rows grows by less than a tenth of those rows."""
    code = """
from pathlib import Path
import numpy as np, pandas as pd
from icl.inference import OLS, infer
names = [f"x{j}" for j in range(10)]
def part(seed, n):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n, 12)), columns=[*names, "f", "y"])
for n_parts in (4, 24):
    batches = lambda: (part(i, 50_000) for i in range(n_parts))
    infer(OLS("y", covariates=names), labeled=part(99, 300), unlabeled=batches, predictions="f")
    # Not getrusage: its peak is inherited from the parent process, and would hide what this one takes.
    print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=True)
    few, many = map(float, done.stdout.split())
    added = 20 * 50_000 * 12 * 8 / 2**20  # MiB
    assert many - few < 0.1 * added + 20


def test_refused_with_advice(rows, path, tmp_path):
    labeled, unlabeled = rows
    missing = tmp_path / "missing.parquet"
    unlabeled.assign(f=unlabeled["f"].where(unlabeled["f"] > -1)).to_parquet(missing)
    no_rows = tmp_path / "empty.parquet"
    unlabeled.head(0).to_parquet(no_rows)
    ols = OLS("y ~ a + group")
    for estimand, options, message in (
        (ols, dict(unlabeled="nowhere.parquet"), "no file or folder"),
        (ols, dict(unlabeled=iter([unlabeled])), "read once only"),
        (ols, dict(unlabeled=7), "Parquet file"),
        (ols, dict(unlabeled=path, predictions="yhat"), r"no column 'yhat'"),
        (ols, dict(unlabeled=path, predictions=np.ones(3)), "name the"),
        (ols, dict(unlabeled=path, predictions=None), "name the"),
        (ols, dict(unlabeled=path, predictions=None, predictor=LinearRegression()), "Predict in batches first"),
        (ols, dict(unlabeled=path, design=Design(strata="group")), "in memory"),
        (Quantile("y"), dict(unlabeled=path, design=Design(clusters="group")), "in memory"),
        (ols, dict(unlabeled=path, design=Design(clusters="ward")), "ward"),
        (ols, dict(unlabeled=path, compat="ppi_py"), "in memory"),
        (ols, dict(unlabeled=missing), r"of the unlabeled rows .* missing or infinite"),
        (ols, dict(unlabeled=no_rows), "no rows"),
        (ols, dict(unlabeled=path, labeled=labeled[labeled["group"] != "u"]), "no labeled row has"),
        (OLS("y ~ scale(a)"), dict(unlabeled=path), "all rows at once"),
        (Logistic("event ~ a"), dict(unlabeled=path, predictions="f"), "outside"),
        (Statistic(np.mean, "y"), dict(unlabeled=path), "MEstimand"),
    ):
        with pytest.raises(ValueError, match=message):
            infer(estimand, **{"labeled": labeled, "predictions": "f", **options})
