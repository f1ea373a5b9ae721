"""Tables of Arrow, Hugging Face and polars are taken wherever pandas' are, and answered alike."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from icl import BetterBaselineWarning, ICLClassifier, ICLRegressor, predict_many
from icl.inference import OLS, infer


def to_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def to_polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def to_hugging_face(frame):
    import datasets

    return datasets.Dataset.from_pandas(frame, preserve_index=False)


FOLDS = np.arange(60) % 2


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "k": rng.choice(["u", "v"], 60)})
    table["day"] = pd.date_range("2024-01-01", periods=60).strftime("%d.%m.%Y")
    return table.assign(y=table["a"] + (table["k"] == "u") + 0.1 * rng.normal(size=60))


def half_labeled(frame):
    return frame.assign(y=frame["y"].where(np.arange(60) < 30))


@pytest.fixture(scope="module")
def of_pandas(frame, tiny_release):
    """The answers to the same rows in a table of pandas."""
    rows, model = frame[["a", "k", "day"]], ICLRegressor(tiny_release, n_estimators=1)
    model.fit(rows, frame["y"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)  # random weights
        baseline = model.check_baseline().loss
    return {
        "mean": model.predict(rows),
        "ends": model.predict_interval(rows, 0.8),
        "baseline": baseline,
        "folds": model.predict_folds(rows, frame["y"], FOLDS, rows)[0],
        "slopes": infer(OLS("y ~ a"), half_labeled(frame), predictor=clone(model), folds=2).estimate,
    }


@pytest.mark.parametrize("made", [to_arrow, to_hugging_face, to_polars])
def test_every_entry_takes_tables_of_other_kinds(made, frame, of_pandas, tiny_release):
    X, targets = made(frame[["a", "k", "day"]]), frame[["y", "a"]]
    y = made(frame)["y"]
    model = ICLRegressor(tiny_release, n_estimators=1)
    assert_allclose(model.fit(X, y).predict(X), of_pandas["mean"])
    assert_allclose(model.predict_interval(X, 0.8, as_frame=True), of_pandas["ends"])
    assert_allclose(model.predict_distribution(X).mean, of_pandas["mean"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)  # random weights
        assert model.check_baseline().loss == of_pandas["baseline"]
    assert_allclose(model.predict_folds(X, y, FOLDS, X)[0], of_pandas["folds"])
    [many] = predict_many([(X, y, X)], ICLRegressor(tiny_release, n_estimators=1))
    assert_allclose(many, model.predict(X), rtol=1e-4, atol=1e-5)
    classifier = ICLClassifier(tiny_release, n_estimators=1).fit(made(frame[["a", "day"]]), made(frame)["k"])
    assert classifier.predict_set(made(frame[["a", "day"]]), 0.8).shape == (60, 2)
    several = ICLRegressor(tiny_release, n_estimators=1).fit(made(frame[["k", "day"]]), made(targets))
    assert several.predict(made(frame[["k", "day"]])).shape == (60, 2)
    found = infer(OLS("y ~ a"), made(half_labeled(frame)), predictor=clone(model), folds=2)
    assert_allclose(found.estimate, of_pandas["slopes"], rtol=1e-6)
