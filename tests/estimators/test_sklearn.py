"""scikit-learn to the letter: its own checks, and the tools that people combine estimators with."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import BaggingRegressor, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_classifiers_train, check_regressors_train, estimator_checks_generator
from weights import tiny_release_path

from icl import ICLClassifier, ICLRegressor


class Untrained:
    """scikit-learn's word for an estimator whose answers are not to be good: all checks but those of accuracy apply."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        for kind in (tags.classifier_tags, tags.regressor_tags):
            if kind is not None:
                kind.poor_score = True
        return tags


class UntrainedClassifier(Untrained, ICLClassifier):
    pass


class UntrainedRegressor(Untrained, ICLRegressor):
    pass


UNTRAINED = [UntrainedClassifier(tiny_release_path(), 1), UntrainedRegressor(tiny_release_path(), 1)]
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "equal to 1e-6, as rows of another order are in float32, not "
    "to 1e-7; test_weights.py has equality to the bit, and with rows in any order to 1e-5"
}


def name_of(value) -> str:
    """An estimator's or a check's, without the temporary path: two processes must collect the same tests."""
    return type(value).__name__ if hasattr(value, "get_params") else value.func.__name__


@pytest.mark.filterwarnings("ignore:X has 30 usable columns")  # the check of weights; the network takes 20
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pair
        for estimator in UNTRAINED
        for pair in estimator_checks_generator(estimator, expected_failed_checks=EXPECTED, mark="xfail")
    ],
    ids=name_of,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        (ICLClassifier("nano", n_estimators=1), check_classifiers_train),
        (ICLRegressor("nano", n_estimators=1), check_regressors_train),
    ],
)
def test_scikit_learn_checks_of_accuracy(estimator, check):
    """With real weights, the two that an untrained network cannot pass."""
    check(type(estimator).__name__, estimator)


@pytest.fixture(scope="module")
def cancer():
    data = load_breast_cancer(as_frame=True)
    rows = np.random.default_rng(0).permutation(len(data.data))[:160]
    return data.data.iloc[rows, :6], data.target.iloc[rows].map({0: "malignant", 1: "benign"})


@pytest.fixture(scope="module")
def diabetes():
    data = load_diabetes(as_frame=True)
    rows = np.random.default_rng(0).permutation(len(data.data))[:120]
    return data.data.iloc[rows, :5], data.target.iloc[rows]


def test_pipeline_hands_frames_on(cancer):
    X, y = cancer
    X = X.assign(group=np.where(X["mean radius"] > 14, "large", "small"))
    columns = ColumnTransformer(
        [("scale", StandardScaler(), X.columns[:3].tolist()), ("keep", "passthrough", ["group"])],
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(columns, ICLClassifier("nano", n_estimators=1)).set_output(transform="pandas").fit(X, y)
    assert pipeline[-1].feature_names_in_.tolist() == [*X.columns[:3], "group"]
    assert pipeline[-1]._encoder.is_categorical_.tolist() == [False] * 3 + [True]
    seen = X[pipeline[-1].feature_names_in_]
    direct = ICLClassifier("nano", n_estimators=1).fit(seen, y)
    assert_allclose(pipeline.predict_proba(X[:9]), direct.predict_proba(seen[:9]), atol=1e-5)
    assert pipeline.score(X, y) > 0.85


def test_grid_search_and_cross_validation(cancer):
    X, y = cancer
    grid = {"softmax_temperature": [0.7, 1.5], "n_estimators": [1]}
    search = GridSearchCV(ICLClassifier("nano"), grid, scoring="neg_log_loss", cv=3).fit(X, y)
    by_hand = cross_val_score(search.best_estimator_, X, y, scoring="neg_log_loss", cv=3).mean()
    assert search.best_score_ == pytest.approx(by_hand, abs=1e-9)
    assert search.cv_results_["mean_test_score"].std() > 1e-4  # the parameter reached the model
    held_out = cross_val_predict(ICLClassifier("nano", n_estimators=1), X, y, cv=3, method="predict_proba")
    assert log_loss(y, held_out) < 0.35


def test_ensembles_and_calibration_of_others(cancer, diabetes):
    X, y = cancer
    ours = ICLClassifier("nano", n_estimators=1)
    calibrated = CalibratedClassifierCV(ours, method="sigmoid", cv=2).fit(X, y)
    assert log_loss(y, calibrated.predict_proba(X)) < 0.35
    line = make_pipeline(StandardScaler(), LogisticRegression())
    assert VotingClassifier([("a", ours), ("b", line)], voting="soft").fit(X, y).score(X, y) > 0.85
    assert StackingClassifier([("a", ours), ("b", line)], cv=2).fit(X, y).score(X, y) > 0.85
    X, y = diabetes
    assert BaggingRegressor(ICLRegressor("nano", n_estimators=1), 2, random_state=0).fit(X, y).score(X, y) > 0.2
    both = MultiOutputRegressor(ICLRegressor("nano", n_estimators=1)).fit(X, np.c_[y, -y]).predict(X)
    assert r2_score(y, both[:, 0]) > 0.2
    assert np.corrcoef(both.T)[0, 1] < -0.9


def test_after_one_hot_encoding(cancer):
    X, y = cancer
    coded = OneHotEncoder(sparse_output=False).fit_transform(X.gt(X.median()).astype(str))
    assert ICLClassifier("nano", n_estimators=1).fit(coded, y).score(coded, y) > 0.8
    with pytest.raises(TypeError, match=r"Sparse data.*dense table.*toarray"):
        ICLClassifier("nano").fit(OneHotEncoder().fit_transform(X), y)


def test_sample_weight_is_routed_and_never_vanishes(tiny_release, diabetes):
    X, y = diabetes
    weights = np.arange(len(y)) % 3
    expected = ICLRegressor(tiny_release).fit(X, y, sample_weight=weights).predict(X[:9])
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match="sample_weight"):  # not said whether it is wanted
            cross_val_score(
                ICLRegressor(tiny_release), X, y, params={"sample_weight": weights}, cv=2, error_score="raise"
            )
        wanting = ICLRegressor(tiny_release).set_fit_request(sample_weight=True)
        routed = make_pipeline(wanting).fit(X, y, sample_weight=weights)
        assert_array_equal(routed.predict(X[:9]), expected)
    weighted = ICLRegressor(tiny_release).fit(X, y).score(X[:9], y[:9], sample_weight=np.arange(9.0))
    assert np.isfinite(weighted)  # the weights of a score are scikit-learn's own matter


@pytest.mark.parametrize("dump", ["pickle", "joblib", "many classes"])
def test_dumps_are_small_and_exact(dump, cancer, diabetes):
    X, y = cancer if dump != "joblib" else diabetes
    if dump == "many classes":
        y = np.arange(len(y)) % 23
    estimator = ICLRegressor("nano") if dump == "joblib" else ICLClassifier("nano")
    estimator.fit(X, y)
    predict = "predict" if dump == "joblib" else "predict_proba"
    before = getattr(estimator, predict)(X[:5])
    buffer = io.BytesIO()
    (joblib if dump == "joblib" else pickle).dump(estimator, buffer)
    # The table, as it came and as the model reads it, and little else: no weights, and nothing that members make of it.
    assert buffer.tell() < 4 * X.to_numpy().nbytes + 15_000
    buffer.seek(0)
    again = (joblib if dump == "joblib" else pickle).load(buffer)
    assert_array_equal(getattr(again, predict)(X[:5]), before)
    assert_array_equal(getattr(clone(again).fit(X, y), predict)(X[:5]), before)


def test_nothing_fitted_is_shared_between_clones(tiny_release, diabetes):
    X, y = diabetes
    first = ICLRegressor(tiny_release).fit(X, y)
    before = first.predict(X[:5])
    second = clone(first)
    assert not hasattr(second, "n_features_in_")
    second.fit(X, -y)
    assert_array_equal(first.predict(X[:5]), before)


def test_html_and_text_representations(tiny_release):
    shown = repr(ICLClassifier("nano", n_estimators=2))
    assert shown == "ICLClassifier(checkpoint='nano', n_estimators=2)"
    assert "ICLClassifier" in ICLClassifier(tiny_release)._repr_html_()


def test_frame_of_one_column_as_target(tiny_release, diabetes):
    X, y = diabetes
    assert_array_equal(
        ICLRegressor(tiny_release).fit(X, pd.DataFrame({"y": y})).predict(X[:5]),
        ICLRegressor(tiny_release).fit(X, y).predict(X[:5]),
    )
