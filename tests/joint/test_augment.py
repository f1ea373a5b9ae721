"""Laws of `icl.augment` and of the comparison that says whether it helps."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import icl
from icl.joint.augmenting.augment import recalibrated


def rare(n: int = 150, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n).round(1), "c": rng.choice(["u", "v"], n)})
    y = pd.Series(X["a"] + (X["c"] == "u") + rng.normal(0, 0.5, n) > 1.8, name="sick")
    return X, y


X, Y = rare()
METHODS = {"icl": {"model": "quick", "orders": 1}, "smote": {}, "mixup": {}}


@pytest.mark.parametrize("method", METHODS)
def test_the_real_rows_come_first_and_the_rarest_class_fills_up(method):
    more, labels = icl.augment(X, Y, method=method, **METHODS[method])
    pd.testing.assert_frame_equal(more[: len(X)], X, check_exact=True)
    pd.testing.assert_series_equal(labels[: len(Y)], Y, check_exact=True)
    assert labels[len(Y) :].all() and labels.sum() == (~labels).sum() and labels.name == "sick"
    assert (more.dtypes == X.dtypes).all() and set(more["c"]) == {"u", "v"} and more.index.is_unique
    assert np.allclose(more["b"].round(1), more["b"])
    # New rows look like rows of that class: the mean of `a` is that of the sick.
    sick = X["a"][Y]
    assert abs(more["a"][len(X) :].mean() - sick.mean()) < 4 * sick.std() / np.sqrt(len(sick))


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_rows(method):
    one, two, other = (icl.augment(X, Y, rows=20, method=method, seed=s, **METHODS[method])[0] for s in (5, 5, 6))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not one.equals(other)


@pytest.mark.parametrize("method", METHODS)
def test_where_holds(method):
    more, labels = icl.augment(X, Y, "y == False and a > 0.5", 25, method, **METHODS[method])
    assert len(more) == len(X) + 25 and not labels[len(X) :].any() and (more["a"][len(X) :] > 0.5).all()


@pytest.mark.parametrize("n_levels", range(4))
@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_columns_may_be_of_levels(method, n_levels):
    levels = {f"l{j}": np.roll(X["c"], j) for j in range(n_levels)}
    table = pd.DataFrame({"a": X["a"], "b": X["b"]} | levels)
    for shown in (table, table.drop(columns=["a", "b"])) if n_levels else (table,):
        more, labels = icl.augment(shown, Y, rows=10, method=method, **METHODS[method])
        assert len(more) == 160 and labels[150:].all() and all(set(more[name]) <= {"u", "v"} for name in levels)


def test_gaps_and_numbers():
    table = X.assign(a=X["a"].where(np.arange(150) % 5 > 0), d=pd.Series(range(150), dtype="Int64"))
    for method, options in METHODS.items():
        more, _ = icl.augment(table, Y, rows=15, method=method, **options)
        assert (more.dtypes == table.dtypes).all()
    amounts = X["a"].rename("amount") * 3
    for method in ("icl", "mixup"):
        _, labels = icl.augment(X[["b", "c"]], amounts, "y > 3", 10, method, **METHODS[method])
        assert (labels[150:] > 3).all()
    with pytest.raises(ValueError, match="smote needs classes"):
        icl.augment(X[["b", "c"]], amounts, "y > 3", 10, "smote")


def test_levels_alone():
    levels = pd.DataFrame({"c": X["c"], "d": np.where(X["a"] > 0, "p", "q")})
    for method, options in METHODS.items():
        more, _ = icl.augment(levels, Y, rows=10, method=method, **options)
        assert set(more["d"]) <= {"p", "q"} and len(more) == 160


def test_no_rows_leave_everything_as_it_was():
    more, labels = icl.augment(X, Y, rows=0)
    pd.testing.assert_frame_equal(more, X)
    pd.testing.assert_series_equal(labels, Y)


def test_what_cannot_be_made_is_refused():
    single = Y & (np.arange(150) == int(np.flatnonzero(Y)[0]))
    for arguments, message in (
        (dict(method="copy"), "method must be"),
        (dict(where="a > 99", rows=5), "satisfied by none"),
        (dict(where="y == True"), "rows is missing"),
        (dict(method="mixup", orders=2), "takes no orders"),
        (dict(rows=-1), "whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            icl.augment(X, Y, **arguments)
    with pytest.raises(ValueError, match="has one"):
        icl.augment(X, single, rows=3, method="smote")
    with pytest.raises(ValueError, match="no rarest class"):
        icl.augment(X[["b"]], X["a"])
    with pytest.raises(ValueError, match="lacks 1 labels"):
        icl.augment(X, Y.astype(object).where(np.arange(150) > 0))
    with pytest.raises(ValueError, match="rename"):
        icl.augment(X, Y.rename("a"))


def test_probabilities_are_put_right():
    """Of a class that was drawn three times as often, Bayes' rule gives the old odds back."""
    rng = np.random.default_rng(0)
    p = rng.random((20, 1))
    real = np.hstack([1 - p, p])
    shares, learnt = np.array([0.9, 0.1]), np.array([0.7, 0.3])
    seen = real * learnt / shares
    seen /= seen.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(recalibrated(seen, learnt * 50, shares), real)
    np.testing.assert_allclose(recalibrated(real, shares, shares), real)


compare = partial(icl.compare_augmentation, amounts=[1.0], orders=1)


def test_copies_of_noise_do_not_help():
    rng = np.random.default_rng(1)
    noise = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    found = compare(LogisticRegression(), noise, rng.random(200) < 0.2, ["mixup", "smote"])
    assert found.verdict == "none" and list(found.frame.index) == ["none", "mixup", "smote"]
    assert (found.frame.loc[["mixup", "smote"], "p_value"] <= 1).all()
    assert repr(found).count("none") >= 2 and "Verdict: none" in repr(found)
    one, two = (
        compare(LogisticRegression(), noise, (noise["a"] > 0.8).rename("y"), ["mixup"]).scores for _ in range(2)
    )
    assert one.equals(two)


def test_help_is_found_where_there_is_some():
    """A tree whose leaves hold 100 rows cannot draw a line around 30 rare ones, unless there are more of them."""
    rng = np.random.default_rng(2)
    X = pd.DataFrame(rng.random(size=(800, 2)), columns=["a", "b"])
    y = (X["a"] > 0.8) & (X["b"] > 0.8)
    found = compare(DecisionTreeClassifier(min_samples_leaf=100), X, y.rename("y"), ["smote", "mixup"], metric="auc")
    assert found.verdict in ("smote", "mixup")
    row = found.frame.loc[found.verdict]
    assert row["gain"] > 0 and row["lower"] > 0 and row["p_value"] < 0.05


def test_the_amount_is_chosen_inside_the_learning_rows():
    found = icl.compare_augmentation(LogisticRegression(), X[["a", "b"]], Y, ["mixup"], amounts=[0.2, 1.0], folds=3)
    chosen = found.scores.set_index("method").loc["mixup", "amount"]
    assert set(chosen) <= {0.2, 1.0} and (found.scores.query("method == 'none'")["amount"] == 0).all()


def test_the_network_is_compared_too(tiny_release):
    found = compare(LogisticRegression(), X[["a", "b"]], Y, ["icl"], folds=2, checkpoint=tiny_release)
    assert found.frame.loc["icl", "log_loss"] > 0


def test_comparisons_that_cannot_be_made_are_refused():
    for arguments, message in (
        (dict(methods=["copy"]), "must be among"),
        (dict(metric="f1"), "metric must be"),
        (dict(amounts=[0.0]), "positive shares"),
        (dict(folds=50), "use fewer folds"),
    ):
        with pytest.raises(ValueError, match=message):
            icl.compare_augmentation(LogisticRegression(), X[["a"]], Y, **arguments)
