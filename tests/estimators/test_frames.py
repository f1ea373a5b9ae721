"""Tables of Arrow, Hugging Face and polars are taken wherever pandas' are, and answered alike."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from icl import BetterBaselineWarning, ICLClassifier, ICLRegressor, predict_many
from icl.inference import OLS, infer


def to_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def to_polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def to_hugging_face(frame):
    import datasets

    return datasets.Dataset.from_pandas(frame, preserve_index=False)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "k": rng.choice(["u", "v"], 60)})
    table["day"] = pd.date_range("2024-01-01", periods=60).strftime("%d.%m.%Y")
    return table.assign(y=table["a"] + (table["k"] == "u") + 0.1 * rng.normal(size=60))


@pytest.mark.parametrize("made", [to_arrow, to_hugging_face, to_polars])
def test_every_entry_takes_tables_of_other_kinds(made, frame, tiny_release):
    X, targets = made(frame[["a", "k", "day"]]), frame[["y", "a"]]
    y = made(frame)["y"]
    model = ICLRegressor(tiny_release, n_estimators=1)
    alike = ICLRegressor(tiny_release, n_estimators=1).fit(frame[["a", "k", "day"]], frame["y"])
    assert_allclose(model.fit(X, y).predict(X), alike.predict(frame[["a", "k", "day"]]))
    ends = model.predict_interval(X, 0.8, as_frame=True)
    assert_allclose(ends, alike.predict_interval(frame[["a", "k", "day"]], 0.8))
    assert_allclose(model.predict_distribution(X).mean, alike.predict(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)  # random weights
        assert model.check_baseline().loss == alike.check_baseline().loss
    folds = np.arange(60) % 2
    assert_allclose(model.predict_folds(X, y, folds, X)[0], alike.predict_folds(X, frame["y"], folds, X)[0])
    [many] = predict_many([(X, y, X)], ICLRegressor(tiny_release, n_estimators=1))
    assert_allclose(many, model.predict(X), rtol=1e-4, atol=1e-5)
    classifier = ICLClassifier(tiny_release, n_estimators=1).fit(made(frame[["a", "day"]]), made(frame)["k"])
    assert classifier.predict_set(made(frame[["a", "day"]]), 0.8).shape == (60, 2)
    several = ICLRegressor(tiny_release, n_estimators=1).fit(made(frame[["k", "day"]]), made(targets))
    assert several.predict(made(frame[["k", "day"]])).shape == (60, 2)
    part = frame.assign(y=frame["y"].where(np.arange(60) < 30))
    found = infer(OLS("y ~ a"), made(part), predictor=ICLRegressor(tiny_release, n_estimators=1), folds=2)
    alone = infer(OLS("y ~ a"), part, predictor=ICLRegressor(tiny_release, n_estimators=1), folds=2)
    assert_allclose(found.estimate, alone.estimate, rtol=1e-6)
