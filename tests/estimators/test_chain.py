"""Several targets in one call: a chain whose later members see what earlier ones predict, out of context."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from icl import ICLClassifier, ICLRegressor


def table(n=90, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    Y = pd.DataFrame({"u": X.a + 0.1 * rng.normal(size=n), "v": 2 * X.a - X.b + 0.1 * rng.normal(size=n)})
    return X, Y


@pytest.fixture(scope="module")
def fitted():
    X, Y = table()
    return ICLRegressor("nano", n_estimators=1).fit(X[:60], Y[:60])


def test_all_targets_are_answered_in_one_call(fitted):
    X, Y = table()
    predicted = fitted.predict(X[60:])
    assert predicted.shape == (30, 2) and fitted.score(X[60:], Y[60:]) > 0.9
    alone = ICLRegressor("nano", n_estimators=1).fit(X[:60], Y.u[:60]).predict(X[60:])
    assert_allclose(predicted[:, 0], alone)  # the first target knows nothing of the others
    first, second = fitted.predict_interval(X[60:], 0.8)
    assert first.shape == second.shape == (30, 2)
    assert [d.mean.shape for d in fitted.predict_distribution(X[60:])] == [(30,), (30,)]
    assert [q.shape for q in fitted.predict_quantiles(X[60:], [0.1, 0.9])] == [(30, 2), (30, 2)]


def test_labelled_rows_show_predictions_that_have_not_seen_their_label(fitted):
    X, _ = table()
    noise = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 2)), columns=["u", "v"])
    model = ICLRegressor("nano", n_estimators=1).fit(X[:60], noise)
    shown = model.chain_.models[1]._labeled[0]["u, predicted"]
    assert abs(np.corrcoef(shown, noise.u)[0, 1]) < 0.4  # in context the model knows some of its labels
    assert set(fitted.chain_.models[1]._labeled[0].columns) == {"a", "b", "u, predicted"}


def test_labels_may_be_missing_in_places_and_classes_are_chained():
    X, _ = table()
    labels = pd.DataFrame(
        {"s": np.where(X.a > 0, "hi", "lo"), "t": np.where(X.b > 0, "x", np.where(X.b > -1, "y", "z"))}
    )
    labels.iloc[3, 0] = None
    model = ICLClassifier("nano", n_estimators=1).fit(X[:60], labels[:60])
    assert (model.predict(X[60:]) == labels[60:].to_numpy()).mean(axis=0).min() > 0.8
    assert [p.shape for p in model.predict_proba(X[60:])] == [(30, 2), (30, 3)]
    assert [s.shape for s in model.predict_set(X[60:], 0.8)] == [(30, 2), (30, 3)]


def test_one_column_is_one_target_again_and_what_a_chain_cannot_do_is_said(fitted, tmp_path):
    X, Y = table()
    with pytest.raises(ValueError, match="several targets"):
        fitted.answering()
    with pytest.raises(ValueError, match="sample_weight is for one target"):
        ICLRegressor("nano").fit(X, Y, sample_weight=np.ones(len(X)))
    with pytest.raises(ValueError, match="X has 90 rows, but y has 60"):
        ICLRegressor("nano").fit(X, Y[:60])
    with pytest.raises(ValueError, match="target 'v': y holds the one value 3"):
        ICLRegressor("nano", n_estimators=1).fit(X, Y.assign(v=3.0)[["v", *Y.columns]])
    model = ICLRegressor("nano", n_estimators=1).fit(X, Y.iloc[:, 0]).fit(X, Y.to_numpy())
    for ask in (model.check_baseline, lambda: model.explain(X[:2]), lambda: model.companions_alone(X[:2])):
        with pytest.raises(ValueError, match="several targets"):  # the first fit is no answer
            ask()
    assert model.chain_.names == [0, 1]
    again = model.fit(X, Y.u)
    assert again.predict(X[:3]).shape == (3,)
    assert_array_equal(again.predict(X[:3]), ICLRegressor("nano", n_estimators=1).fit(X, Y.u).predict(X[:3]))


def test_a_budget_is_for_all_targets_and_told_once():
    """Two targets are seven fits: each of the targets, and five folds between them."""
    X, Y = table()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = ICLRegressor("nano", n_estimators=1, time_budget=(0.7, 50)).fit(X, Y)
    assert [m.time_budget[1:] for m in model.chain_.models] == [(50, 7)] * 2
    assert_allclose([m.time_budget[0] for m in model.chain_.models], 0.1)
    assert model.time_budget == (0.7, 50)
    assert len([w for w in told if "time_budget: " in str(w.message)]) <= 1
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ICLRegressor("nano", n_estimators=1, time_budget=1e-4).fit(X, Y)
    [said] = [str(w.message) for w in told if "time_budget: " in str(w.message)]
    assert "one of 7 fits that share" in said
