"""Rows in blocks that lie elsewhere give the answers of rows that are read here, however they are cut."""

import pickle
import sys
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from test_infer_stream import CASES, N_UNLABELED, path, rows  # noqa: F401 - fixtures

from icl.inference import OLS, Design, Logistic, Mean, MEstimand, infer
from icl.inference.inputs import stream

UNEVEN = [0, 1, 1, N_UNLABELED // 2, N_UNLABELED - 2, N_UNLABELED]


class Dataset:
    """What the reader uses of a Ray Dataset, in this process; functions and results travel as Ray sends them."""

    def __init__(self, table: pa.Table, cuts: list[int], names: list[str] | None = None):
        self.table, self.cuts, self.names = table, cuts, names
        self.context = SimpleNamespace(execution_options=SimpleNamespace())

    def columns(self):
        return self.table.column_names

    def select_columns(self, names):
        return Dataset(self.table.select(names), self.cuts)

    def map_batches(self, work, batch_format, batch_size):
        assert batch_format == "pyarrow" and batch_size is None
        sent = cloudpickle.dumps(work)
        assert len(sent) < 100_000  # it must not carry the labeled rows, the sample, or the problem along
        blocks = [self.table.slice(i, j - i) for i, j in zip(self.cuts[:-1], self.cuts[1:])]
        made = pa.concat_tables([pickle.loads(sent)(block) for block in blocks])
        return SimpleNamespace(context=self.context, iter_rows=lambda: iter(made.to_pylist()))


Dataset.__module__ = "ray.data.dataset"


def dataset(frame, cuts=UNEVEN) -> Dataset:
    return Dataset(pa.Table.from_pandas(frame, preserve_index=False), cuts)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weight", ["auto", 1])
def test_blocks_equal_a_file(rows, path, name, weight):  # noqa: F811
    estimand, f = CASES[name]
    labeled, unlabeled = rows
    here = infer(estimand, labeled=labeled, unlabeled=path, predictions=f, weight=weight)
    there = infer(estimand, labeled=labeled, unlabeled=dataset(unlabeled), predictions=f, weight=weight)
    assert there.n_unlabeled == len(unlabeled)
    assert_allclose(there.estimate, here.estimate, rtol=1e-10)
    assert_allclose(there.covariance, here.covariance, rtol=1e-10, atol=1e-15)
    assert_allclose(there.interval(), here.interval(), rtol=1e-10)
    assert [d.code for d in there.diagnostics] == [d.code for d in here.diagnostics]


@pytest.mark.parametrize("name", ["mean", "ols", "logistic"])
@pytest.mark.parametrize("weight", ["auto", 1])
@pytest.mark.parametrize("as_text", [False, True])
def test_clusters_lie_across_batches_and_blocks(rows, tmp_path, name, weight, as_text):  # noqa: F811
    """Clusters with labels, without, and of both; names that are numbers and text."""
    estimand, f = CASES[name]
    ward = np.random.default_rng(3).integers(0, 900, len(rows[0]) + len(rows[1]))
    ward[: len(rows[0])] //= 30
    ward = np.array([f"w{w}" for w in ward], dtype=object) if as_text else ward
    labeled, unlabeled = (part.assign(ward=w) for part, w in zip(rows, np.split(ward, [len(rows[0])])))
    unlabeled.to_parquet(tmp_path / "rows.parquet")
    options = dict(labeled=labeled, predictions=f, weight=weight, design=Design(clusters="ward"))
    memory = infer(estimand, unlabeled=unlabeled, **options)
    for source in (tmp_path / "rows.parquet", dataset(unlabeled)):
        found = infer(estimand, unlabeled=source, **options)
        assert_allclose(found.estimate, memory.estimate, rtol=1e-9)
        assert_allclose(found.covariance, memory.covariance, rtol=1e-9, atol=1e-15)
        assert_allclose(found.interval(), memory.interval(), rtol=1e-9)  # degrees of freedom too


def test_scores_of_a_user_travel(rows):  # noqa: F811
    labeled, unlabeled = rows
    share = MEstimand(lambda theta, X, y: (y - theta[0])[:, None], "y", ["a"])
    mean = infer(Mean("y"), labeled=labeled, unlabeled=dataset(unlabeled), predictions="f", weight=1)
    own = infer(share, labeled=labeled, unlabeled=dataset(unlabeled), predictions="f", weight=1, std_error="HC0")
    assert_allclose(own.estimate.to_numpy(), mean.estimate.to_numpy(), rtol=1e-9)


def test_the_sample_spans_all_blocks(rows, monkeypatch):  # noqa: F811
    monkeypatch.setattr("icl.inference.inputs.batches.SAMPLE", 500)
    monkeypatch.setattr("icl.inference.inputs.blocks.SAMPLE_OF_BLOCK", 100)
    frame = rows[1].assign(f=np.arange(len(rows[1]), dtype=float))
    reader = stream.FrameReader(Mean("y"), lambda frame: np.ones((len(frame), 1)), ["f"])
    source = stream.BlockRows(reader, stream.ray_engine(dataset(frame, list(range(0, N_UNLABELED + 1, 1_200))), ["f"]))
    f = source.sample(10_000).Y[:, 0]
    assert len(source) == N_UNLABELED and 250 < len(f) <= 1_000
    assert f.min() < 30 and f.max() > N_UNLABELED - 60 and np.ptp(np.diff(f)) < 60


def test_refused_with_advice(rows):  # noqa: F811
    labeled, unlabeled = rows
    missing = unlabeled.assign(f=unlabeled["f"].where(unlabeled["f"] > -1))
    for estimand, options, message in (
        (OLS("y ~ a"), dict(unlabeled=dataset(missing)), r"of the unlabeled rows .* missing or infinite"),
        (OLS("y ~ a"), dict(unlabeled=dataset(unlabeled.head(0), [0, 0])), "no rows"),
        (OLS("y ~ a"), dict(unlabeled=dataset(unlabeled), predictions="yhat"), r"no column 'yhat'"),
        (Logistic("event ~ a"), dict(unlabeled=dataset(unlabeled)), "outside"),
    ):
        with pytest.raises(ValueError, match=message):
            infer(estimand, **{"labeled": labeled, "predictions": "f", **options})


def test_the_reader_of_blocks_imports_no_ray():
    assert "ray" not in sys.modules or pytest.importorskip("ray")
