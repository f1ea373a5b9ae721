"""Explanations of estimators: they add up, agree with simpler paths, and take tables as they come."""

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import partial_dependence

from icl import ICLClassifier, ICLRegressor

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 60),
            "town": rng.choice(["Bern", "Lyon", "Oslo"], 60),
            "one": 1.0,
            "income": rng.lognormal(size=60),
        }
    )
    frame.loc[::7, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def regressor(table, tiny_release):
    y = table["age"] * 2 + np.where(table["town"] == "Oslo", 30, 0)
    return ICLRegressor(checkpoint=tiny_release, n_estimators=2).fit(table, y)


@pytest.fixture(scope="module")
def classifier(table, tiny_release):
    return ICLClassifier(checkpoint=tiny_release, n_estimators=2).fit(table, table["town"].str[:1] + "!")


def test_values_add_up_to_the_prediction(table, regressor, classifier):
    rows = table[5:12]
    found = regressor.explain(rows)
    assert found.is_exact and found.values.shape == (7, 4) and not found.values[:, 2].any()
    np.testing.assert_allclose(found.base_values + found.values.sum(1), regressor.predict(rows), rtol=1e-5)
    assert np.ptp(found.base_values) < 1e-4 * abs(found.base_values[0])
    of_classes = classifier.explain(rows)
    np.testing.assert_allclose(of_classes.predictions, classifier.predict_proba(rows), atol=1e-6)
    np.testing.assert_allclose(of_classes.base_values + of_classes.values.sum(1), of_classes.predictions, atol=1e-6)
    np.testing.assert_allclose(of_classes.values.sum(2), 0, atol=1e-6)
    assert of_classes.output_names == ["B!", "L!", "O!"]


def test_sampled_orders_add_up_too_and_a_seed_repeats_them(table, regressor):
    found = regressor.explain(table[:3], budget=4)
    assert not found.is_exact and (found.std_errors[:, [0, 1, 3]] > 0).any()
    np.testing.assert_allclose(found.values.sum(1), found.predictions - found.base_values, rtol=1e-5)
    np.testing.assert_array_equal(found.values, regressor.explain(table[:3], budget=4).values)


def test_shown_as_tables_and_pictures(table, classifier):
    found = classifier.explain(table[:3])
    assert found.importance().index[-1] == "one" and (found.importance()["importance"] >= 0).all()
    one = found.to_frame(1, "L!")
    assert set(one.index) == set(table.columns) and one["cell"]["town"] == table["town"][1]
    assert one.columns.name == "of L!" and found.to_frame(1).columns.name == f"of {found.output_names[-1]}"
    assert one["value"].abs().is_monotonic_decreasing and found.of("L!").values.shape == (3, 4)
    labels = [text.get_text() for text in found.plot(row=1, output="L!").get_yticklabels()]
    assert any(text.startswith("town = ") for text in labels) and found.plot().get_xlabel()
    with pytest.raises(ValueError, match="one of the classes"):
        found.of("Rome")
    assert "exact" in repr(found) and len(found) == 3
    matplotlib.pyplot.close("all")


def test_linear_tasks_have_nearly_their_closed_form():
    """Independent columns: what a linear model's column adds is b (x - mean of x). Nano, 120 labelled rows."""
    rng = np.random.default_rng(1)
    X, slope = rng.normal(size=(150, 3)), np.array([2.0, -1.0, 0.5])
    y = X @ slope + 0.1 * rng.normal(size=150)
    model = ICLRegressor(checkpoint="nano").fit(X[:120], y[:120])
    closed = slope * (X[120:] - X[:120].mean(0))
    values = model.explain(X[120:]).values
    assert 1 - np.square(values - closed).sum() / np.square(closed).sum() > 0.95  # .981 measured


@pytest.mark.parametrize("column", ["age", "town"])
@pytest.mark.filterwarnings("ignore:X differs from the rows of fit:UserWarning")  # scikit-learn asks value by value
def test_the_average_is_that_of_scikit_learn(table, regressor, column):
    rows = table.assign(age=table["age"].astype(float))
    found = regressor.partial_dependence(rows, column, folds=3)
    grid = found.frame["value"].to_numpy()
    other = partial_dependence(regressor, rows, [column], categorical_features=["town"], custom_values={column: grid})
    np.testing.assert_allclose(found.frame["average"], np.ravel(other["average"]), rtol=0.1)
    assert (found.frame["lower"] < found.frame["average"]).all() and found.plot().get_xlabel() == column
    matplotlib.pyplot.close("all")


def test_dependence_of_a_class_without_a_band(table, classifier):
    each = [classifier.partial_dependence(table, "income", output=c, coverage=None) for c in classifier.classes_]
    np.testing.assert_allclose(sum(one.frame["average"] for one in each), 1, atol=1e-6)
    assert each[0].frame["lower"].isna().all() and "probability of 'B!'" in repr(each[0])


def test_arrays_have_positions_for_names(tiny_release):
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = ICLRegressor(checkpoint=tiny_release).fit(X, X[:, 0])
    assert model.explain(X[:2]).feature_names == ["0", "1"]
    assert len(model.partial_dependence(X, 1, grid=4, coverage=None).frame) == 4
    assert list(model.nearest_rows(X[:1], 2).columns) == ["row", "labeled", "share", "label", 0, 1]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda m, t: m.explain(t, budget=1), "budget must be"),
        (lambda m, t: m.partial_dependence(t, "height"), "column must be one of"),
        (lambda m, t: m.partial_dependence(t, "age", output="x"), "output names a class"),
        (lambda m, t: m.partial_dependence(t, "age", grid=1), "grid must be"),
    ],
)
def test_refusals_say_what_to_do(table, regressor, ask, said):
    with pytest.raises(ValueError, match=said):
        ask(regressor, table)


def test_shap_reads_it(table, classifier):
    shap = pytest.importorskip("shap")
    found = classifier.explain(table[:2]).to_shap()
    assert isinstance(found, shap.Explanation) and found.values.shape == (2, 4, 3)
