"""Warnings about tables that are better served otherwise: far from pretraining, or linear."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from icl import BetterBaselineWarning, ICLClassifier, ICLRegressor, OutOfPriorWarning
from icl.estimators.baseline import BaselineCheck
from icl.estimators.prior_limits import heavy_target, many_levels, rare_classes
from icl.releases.prior_limits import PriorLimits, limits_of

LIMITS = PriorLimits(least_class_share=0.01, most_levels=64)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=240), "b": rng.normal(size=240), "kind": rng.choice(list("xyz"), 240)})


# Far from pretraining


def test_limits_come_from_the_training_configuration():
    config = {
        "data": {
            "priors": [
                {"init_args": {"target": {"min_class_share": 0.05}, "columns": {"max_levels": 200}}},
                {"init_args": {"target": {"min_class_share": 0.02}}},
            ]
        }
    }
    assert PriorLimits.of_training(config) == PriorLimits(least_class_share=0.02, most_levels=200)
    assert PriorLimits.of_training({}) == PriorLimits()


def test_limits_of_a_release(tmp_path):
    assert limits_of(None) == limits_of(tmp_path) == PriorLimits()
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "training.yaml").write_text("data:\n  target:\n    min_class_share: 0.2\n")
    assert limits_of(tmp_path / "trained").least_class_share == 0.2
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "training.yaml").write_text("data: [")
    assert limits_of(tmp_path / "damaged") == PriorLimits()


@pytest.mark.parametrize(("n_rare", "n", "said"), [(2, 240, True), (3, 240, False), (1, 60, False), (1, 101, True)])
def test_a_class_rarer_than_in_pretraining(n_rare, n, said):
    codes = np.r_[np.ones(n_rare, dtype=int), np.zeros(n - n_rare, dtype=int)]
    found = rare_classes(codes, np.array(["no", "yes"]), LIMITS)
    assert bool(found) == said
    assert not said or f"class 'yes' holds {n_rare} of {n} labelled rows" in found[0]


def test_extreme_targets():
    rng = np.random.default_rng(0)
    assert heavy_target(rng.normal(size=400), LIMITS) == []
    assert heavy_target(rng.exponential(size=400), LIMITS) == []
    [said] = heavy_target(np.exp(4 * rng.normal(size=400)), LIMITS)
    assert "extreme values" in said
    assert heavy_target(np.r_[np.zeros(99), 1e300], LIMITS) != []
    assert heavy_target(np.array([0.0, 1.0, 1e6]), LIMITS) == []  # three rows say nothing about tails


def test_many_levels_names_the_largest():
    [said] = many_levels(np.array([0, 65, 200, 3]), ["a", "town", "name", "b"], LIMITS)
    assert "'name' and 1 other has 200 levels" in said
    assert many_levels(np.array([64, 0]), ["a", "b"], LIMITS) == []


def test_fit_says_all_in_one_warning_that_can_be_caught(tiny_release, table):
    odd = table.assign(town=[f"town {i % 120}" for i in range(240)])
    labels = np.where(np.arange(240) < 2, "rare", "usual")
    with pytest.warns(UserWarning) as caught:
        ICLClassifier(tiny_release, n_estimators=1).fit(odd, labels)
    ours = [w for w in caught if issubclass(w.category, OutOfPriorWarning)]
    assert len(ours) == 1 and ours[0].filename == __file__
    assert "column 'town' has 120 levels" in str(ours[0].message) and "class 'rare' holds 2" in str(ours[0].message)
    with pytest.warns(OutOfPriorWarning, match="y has extreme values"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the context has 240 rows")
        ICLRegressor(tiny_release, n_estimators=1).fit(table, np.exp(5 * table["a"]))


def test_an_ordinary_table_is_not_remarked_upon(tiny_release, table):
    ICLRegressor(tiny_release, n_estimators=1).fit(table[:150], table["a"][:150])  # warnings are errors
    ICLClassifier(tiny_release, n_estimators=1).fit(table[:150], table["kind"][:150])


# A linear model


@pytest.mark.parametrize(
    ("loss", "baseline_loss", "std_error", "better"),
    [
        (1.0, 0.9, 0.04, True),
        (1.0, 0.9, 0.06, False),
        (1.0, 0.99, 0.001, False),
        (1.0, 1.2, 0.01, False),
        (0, 0, 0, False),
    ],
)
def test_better_means_by_more_than_noise_and_enough_to_matter(loss, baseline_loss, std_error, better):
    assert BaselineCheck("ridge", "loss", loss, baseline_loss, std_error, 100).baseline_is_better is better


def test_a_linear_table_is_better_served_by_a_linear_model(tiny_release, table):
    """Random weights know nothing; the target is a weighted sum, a category included. No line is blended in."""
    options = {"n_estimators": 1, "companions": ("ridge",), "quality": "fast"}
    X = table[:120]
    y = 100 + 2 * X["a"] - X["b"] + 3 * (X["kind"] == "x") + 0.1 * np.random.default_rng(1).normal(size=120)
    model = ICLRegressor(tiny_release, **options).fit(X, y)
    with pytest.warns(BetterBaselineWarning, match="better served by ridge regression") as caught:
        check = model.check_baseline()
    assert caught[0].filename == __file__
    assert check.n_rows == 120 and check.baseline_loss < 0.05 < 0.5 < check.loss
    # By hand, on the same folds and in units of the variance of y.
    loss = 0.0
    for fold in model._deal("cv+", 5):
        part = ICLRegressor(tiny_release, **options).fit(X.drop(index=fold), y.drop(index=fold))
        loss += np.sum((part.predict(X.iloc[fold]) - y.iloc[fold]) ** 2)
    assert check.loss == pytest.approx(loss / 120 / y.var(ddof=0), rel=1e-4)


def test_labels_that_follow_a_line_too(tiny_release, table):
    X = table[:120].assign(b=table["b"].where(table.index % 7 > 0))  # with gaps
    model = ICLClassifier(tiny_release, n_estimators=1, companions=()).fit(X, np.where(X["a"] > 0, "up", "down"))
    with pytest.warns(BetterBaselineWarning, match="logistic regression"):
        check = model.check_baseline()
    assert check.gain > 0.3 and "120 labelled rows" in str(check)


def test_noise_is_nobodys_win(tiny_release, table):
    """What is unpredictable costs both the same, give or take the noise."""
    y = np.random.default_rng(5).normal(size=60)
    check_noise = ICLRegressor("nano", n_estimators=1).fit(table[:60], y).check_baseline()  # warnings are errors
    assert abs(check_noise.loss - 1) < 0.3


def test_classes_that_a_fold_lacks_and_few_rows(tiny_release, table):
    labels = np.array(["one"] + ["a", "b"] * 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)
        check = ICLClassifier(tiny_release, n_estimators=1).fit(table[:11], labels).check_baseline()
    assert np.isfinite([check.loss, check.baseline_loss, check.std_error]).all()


def test_a_companion_that_is_better_alone_is_named(tiny_release, table):
    """Random weights know nothing, a line neither; neighbours see the bend."""
    X = table[["a", "b"]][:160]
    y = 10 * X["a"].abs() + 0.1 * np.random.default_rng(1).normal(size=160)
    companions = ("ridge", KNeighborsRegressor(3))
    model = ICLRegressor(tiny_release, n_estimators=1, quality="fast", companions=companions).fit(X, y)
    with pytest.warns(BetterBaselineWarning, match="the companion KNeighborsRegressor alone"):
        check = model.check_baseline()
    [other] = check.companions  # ridge is what the baseline is
    assert other.loss == check.loss and other.baseline == "KNeighborsRegressor" and other.n_rows == 160
    loss = 0.0
    for fold in model._deal("cv+", 5):
        by_hand = make_pipeline(StandardScaler(), KNeighborsRegressor(3)).fit(X.drop(index=fold), y.drop(index=fold))
        loss += np.sum((by_hand.predict(X.iloc[fold]) - y.iloc[fold]) ** 2)
    assert other.baseline_loss == pytest.approx(loss / 160 / y.var(ddof=0), rel=1e-3)


def test_companions_of_classes_are_scored_as_probabilities(tiny_release, table):
    X = table[["a", "b"]][:160]
    y = np.where(X["a"].abs() > 1.2, "far", np.where(X["b"] > 0, "up", "down"))
    # A network of random weights, into which no trees are blended.
    model = ICLClassifier(tiny_release, quality="fast", companions=("trees",)).fit(X, y)
    with pytest.warns(BetterBaselineWarning, match="the companion trees alone"):
        check = model.check_baseline()
    [other] = check.companions
    assert 0.1 < other.baseline_loss < 0.9 * check.loss
    probs, classes = model.companions_alone(X)["trees"]
    assert list(classes) == list(model.classes_) and np.allclose(probs.sum(1), 1)
    assert np.mean(classes[probs.argmax(1)] == y) > 0.95


# One answer for all rows


def test_one_answer_for_all_rows_is_a_rival(tiny_release):
    """Random weights on noise: the mean and the shares of the classes are better, by what they cost in the folds."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(120, 12)))
    y, labels = rng.normal(size=120), rng.choice(["no", "yes"], 120, p=[0.8, 0.2])
    options = {"n_estimators": 1, "companions": (), "quality": "fast"}
    model = ICLRegressor(tiny_release, **options).fit(table, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)
        check = model.check_baseline()
    folds = model._deal("cv+", 5)
    loss = sum(np.sum((np.delete(y, fold).mean() - y[fold]) ** 2) for fold in folds)
    assert check.constant.baseline == "the mean" and check.constant.loss == check.loss
    assert check.constant.baseline_loss == pytest.approx(loss / 120 / y.var(), rel=1e-4)
    model = ICLClassifier(tiny_release, **options).fit(table, labels)
    with pytest.warns(
        BetterBaselineWarning, match="served by the shares of the classes, the same for every row"
    ) as told:
        check = model.check_baseline()
    loss = 0.0
    for fold in model._deal("cv+", 5):
        share = ((np.delete(labels, fold) == "yes").sum() + 0.5) / (120 - len(fold) + 1)
        loss -= np.log(np.where(labels[fold] == "yes", share, 1 - share)).sum()
    assert check.constant.baseline_loss == pytest.approx(loss / 120, rel=1e-6)
    assert len(told) == 1 and f"the shares of the classes alone {check.constant.baseline_loss:.4g}" in str(check)
