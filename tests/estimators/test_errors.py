"""Bad input gets an error that says what came, what was expected and what to do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning, NotFittedError

from icl import ICLClassifier, ICLRegressor

ESTIMATORS = [ICLClassifier, ICLRegressor]
both = pytest.mark.parametrize("Estimator", ESTIMATORS)


@pytest.fixture
def X():
    return pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "y", "x", None]})


@pytest.fixture
def y():
    return np.array([0, 1, 0, 1])


def refuse(call, *said: str):
    """`call` raises a ValueError whose message holds every phrase."""
    with pytest.raises(ValueError) as caught:
        call()
    missing = [phrase for phrase in said if phrase not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


@both
def test_empty_table(Estimator, tiny_release, X, y):
    for no_rows in (X.iloc[:0], np.empty((0, 2))):
        refuse(lambda X=no_rows: Estimator(tiny_release).fit(X, y), "no rows", "minimum of 1", "Pass the rows")
    refuse(lambda: Estimator(tiny_release).fit(np.empty((4, 0)), y), "0 feature(s)", "minimum of 1")
    refuse(lambda: Estimator(tiny_release).fit(X[[]], y), "no columns")


@both
def test_zero_labels(Estimator, tiny_release, X):
    refuse(lambda: Estimator(tiny_release).fit(X.iloc[:0], []), "y holds no", "at least 2")


def test_one_class(tiny_release, X):
    refuse(lambda: ICLClassifier(tiny_release).fit(X, ["no"] * 4), "one class", "no", "at least 2", "Add rows")


def test_constant_target(tiny_release, X):
    refuse(lambda: ICLRegressor(tiny_release).fit(X, [2.5] * 4), "one value 2.5", "constant", "at least 2")
    refuse(lambda: ICLRegressor(tiny_release).fit(X[:1], [2.5]), "n_samples = 1", "at least 2")


@both
def test_no_usable_column(Estimator, tiny_release, y):
    X = pd.DataFrame({"gone": [np.nan] * 4, "same": [3] * 4})
    refuse(lambda: Estimator(tiny_release).fit(X, y), "'gone', 'same'", "missing", "at least one column that varies")


@both
def test_infinite_cells(Estimator, tiny_release, X, y):
    bad = X.assign(a=[1, np.inf, -np.inf, 2])
    refuse(lambda: Estimator(tiny_release).fit(bad, y), "column 'a'", "infinity", "2 cells", "np.nan")
    fitted = Estimator(tiny_release).fit(X, y)
    refuse(lambda: fitted.predict(bad), "column 'a'", "infinity")


@both
def test_other_columns_at_predict(Estimator, tiny_release, X, y):
    fitted = Estimator(tiny_release).fit(X, y)
    refuse(lambda: fitted.predict(X.rename(columns={"b": "B"})), "missing 'b'", "not seen at fit 'B'", "same 2 columns")
    refuse(lambda: fitted.predict(X[["a"]]), "missing 'b'")
    refuse(lambda: fitted.predict(X.assign(c=1)), "not seen at fit 'c'")
    fitted = Estimator(tiny_release).fit(X[["a"]].to_numpy(), y)
    refuse(lambda: fitted.predict(np.ones((2, 3))), "X has 3 features", "expecting 1 features")


@both
def test_other_types_at_predict(Estimator, tiny_release, X, y):
    fitted = Estimator(tiny_release).fit(X.assign(d=pd.date_range("2024", periods=4)), y)
    text = X.assign(a=["1", "2", "?", "3"], d=pd.date_range("2024", periods=4))
    refuse(lambda: fitted.predict(text), "column 'a'", "held numbers", "'?'", "NaN", "category")
    refuse(lambda: fitted.predict(X.assign(d=[1, 2, 3, 4])), "column 'd'", "dates", "pd.to_datetime")
    dated = X.assign(a=pd.date_range("2024", periods=4), d=pd.date_range("2024", periods=4))
    refuse(lambda: fitted.predict(dated), "column 'a'", "held numbers", "datetime64")


@both
def test_missing_labels(Estimator, tiny_release, X):
    for y in ([0, np.nan, 1, np.nan], pd.Series([0, None, 1, None], dtype="Int64"), [None, "a", "b", None]):
        refuse(lambda y=y: Estimator(tiny_release).fit(X, y), "2 of 4 labels are missing", "Drop", "icl.inference")


@both
def test_duplicate_columns(Estimator, tiny_release, X, y):
    refuse(lambda: Estimator(tiny_release).fit(X.set_axis(["a", "a"], axis=1), y), "duplicate", "'a'", "Rename")


@both
def test_wrong_shapes(Estimator, tiny_release, X, y):
    refuse(lambda: Estimator(tiny_release).fit(X["a"], y), "Expected 2D", "1 dimension", "to_frame")
    refuse(lambda: Estimator(tiny_release).fit(X, y[:3]), "4 rows", "3 values", "one label per row")
    cube = np.ones((4, 2, 2))
    refuse(lambda: Estimator(tiny_release).fit(X, cube), "1d array", "(4, 2, 2)", "one estimator per target")
    refuse(lambda: Estimator(tiny_release).fit(X, None), "requires y", "one label per row")
    with pytest.warns(DataConversionWarning, match="ravel"):
        Estimator(tiny_release).fit(X, y[:, None])


@both
def test_foreign_kinds_of_input(Estimator, tiny_release, X, y):
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match="toarray"):
        Estimator(tiny_release).fit(csr_array(np.eye(4)), y)
    refuse(lambda: Estimator(tiny_release).fit(np.eye(4) * 1j, y), "Complex data not supported")


def test_labels_of_the_wrong_kind(tiny_release, X):
    refuse(lambda: ICLClassifier(tiny_release).fit(X, [0.5, 1.5, 0.5, 2]), "continuous", "0.5", "ICLRegressor")
    refuse(lambda: ICLClassifier(tiny_release).fit(X, pd.Series([0, "a", 1, 2])), "mixes int and str", "astype(str)")
    refuse(lambda: ICLRegressor(tiny_release).fit(X, list("abab")), "'a'", "needs numbers", "ICLClassifier")
    refuse(lambda: ICLRegressor(tiny_release).fit(X, pd.Series([1, 2, "?", 3])), "'?'", "needs numbers")
    refuse(lambda: ICLRegressor(tiny_release).fit(X, pd.Series([1, 2, 10**400, 3])), "out of range")
    refuse(lambda: ICLRegressor(tiny_release).fit(X, pd.date_range("2024", periods=4)), "needs numbers", "days")
    refuse(lambda: ICLRegressor(tiny_release).fit(X, [1, 2, 3, np.inf]), "infinity", "1 of 4", "finite bound")


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_estimators", 0),
        ("n_estimators", 1.5),
        ("softmax_temperature", 0.0),
        ("softmax_temperature", True),
        ("memory_gb", -1),
    ]
    + [("max_rows", 1), ("random_state", "zero"), ("random_state", -1), ("calibrate", "yes")],
)
def test_parameters_out_of_range(Estimator, tiny_release, X, y, name, value):
    refuse(lambda: Estimator(tiny_release, **{name: value}).fit(X, y), name, repr(value))


def test_requests_out_of_range(tiny_release, X):
    fitted = ICLRegressor(tiny_release).fit(X, [1, 2, 3, 5])
    refuse(lambda: fitted.predict_quantiles(X, 90), "fractions in (0, 1)", "90", "0.9")
    refuse(lambda: fitted.predict(X, output="max"), "mean", "'max'")


@both
def test_unfitted(Estimator, tiny_release, X):
    with pytest.raises(NotFittedError, match="fit"):
        Estimator(tiny_release).predict(X)


def test_folds_that_cannot_be_fitted(tiny_release, X, y):
    classifier = ICLClassifier(tiny_release)
    refuse(lambda: classifier.predict_folds(X, y, np.zeros(4), X), "at least two folds", "1 fold")
    refuse(lambda: classifier.predict_folds(X, y, [0, 1], X), "each of the 4 labelled rows", "(2,)")
    held, others = classifier.predict_folds(X, [0, 0, 0, 1], [0, 0, 1, 1], X)
    assert held[2:].tolist() == [0, 0] and others[1].tolist() == [0] * 4 and 0 < others[0].min() < others[0].max() < 1
    odd = X.assign(**{X.columns[0]: [1.0, np.inf, 1.0, 2.0]})
    refuse(lambda: classifier.predict_folds(odd, [0, 1, 0, 1], [0, 0, 1, 1], X), "fold 1", "infinity")
    refuse(lambda: classifier.predict_folds(X, [0, 1, 2, 1], [0, 0, 1, 1], X), "needs two classes", "y has 3")


@both
def test_unknown_checkpoint_fails_at_fit(Estimator, X, y):
    refuse(lambda: Estimator("enormous").fit(X, y), "no checkpoint 'enormous'", "shipped", "Use one of these")


@both
def test_weights_that_are_none(Estimator, tiny_release, X, y):
    def fit(weight):
        return lambda: Estimator(tiny_release).fit(X, y, sample_weight=weight)

    refuse(fit([1, 2]), "shape (4,)", "one weight per label", "(2,)")
    refuse(fit(np.ones((4, 2))), "shape (4,)", "(4, 2)")
    refuse(fit([1, -2, 1, 1]), "not negative", "-2", "weight of 0")
    refuse(fit([1, np.nan, np.inf, 1]), "finite", "2 such weights")
    refuse(fit(np.zeros(4)), "zero for every row", "positive weight")
    refuse(fit(list("abcd")), "4 numbers")
    refuse(lambda: Estimator(tiny_release, finetune=True).fit(X, y, sample_weight=[1, 1, 1, 2]), "exclude each other")
    with pytest.raises(TypeError, match="weights"):
        Estimator(tiny_release).fit(X, y, weights=np.ones(len(y)))


def test_target_too_large_for_predictions_beyond_it(tiny_release, X):
    refuse(lambda: ICLRegressor(tiny_release).fit(X, [1.7e308, 0, 1, -1e308]), "1.7e+308", "Use larger", "1e+306")
    assert np.isfinite(ICLRegressor(tiny_release).fit(X, [9e305, 0, 1, -9e305]).predict_quantiles(X, [1e-6])).all()


def test_what_the_other_kind_of_estimator_has_is_named_with_what_this_one_has():
    for estimator, names, instead in (
        (ICLClassifier(), ("predict_interval", "predict_quantiles"), "predict_proba"),
        (ICLRegressor(), ("predict_set", "predict_proba"), "a regressor has"),
    ):
        for name in names:
            assert not hasattr(estimator, name)
            with pytest.raises(AttributeError, match=f"has no attribute '{name}'; .*{instead}"):
                getattr(estimator, name)
        with pytest.raises(AttributeError, match=r"has no attribute 'predict_all'$"):
            _ = estimator.predict_all
