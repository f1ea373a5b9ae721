"""Cross-fitting: no labeled row is predicted by a model that saw its label, and nothing ambient enters."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from icl.inference import OLS, Mean, infer
from icl.inference.inputs.cross_fit import cross_fit, quantile_thresholds
from icl.inference.inputs.folds import assign_folds

N_LABELED, N_UNLABELED, FOLDS = 31, 80, 5


class Memory:
    """Knows the rows it was fitted on, and says so instead of predicting."""

    def fit(self, X, y):
        self.seen_ = set(X["id"])
        return self

    def predict(self, X):
        return np.array([i in self.seen_ for i in X["id"]], dtype=float)


class Counter(BaseEstimator):
    """Predicts the number of rows it was fitted on."""

    def fit(self, X, y):
        self.n_ = len(y)
        return self

    def predict(self, X):
        return np.full(len(X), float(self.n_))


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    x = rng.normal(size=N_LABELED + N_UNLABELED)
    y = np.sin(2 * x) + 0.3 * rng.normal(size=len(x))
    y[N_LABELED:] = np.nan
    return pd.DataFrame({"y": y, "x": x, "id": np.arange(len(x))})


def surrogate(table, predictor, y=None, **options):
    labeled, unlabeled = table.iloc[:N_LABELED], table.iloc[N_LABELED:]
    y = labeled["y"].to_numpy() if y is None else y
    return cross_fit(predictor, labeled[["x", "id"]], y, unlabeled[["x", "id"]], **options)


def test_labeled_rows_are_predicted_by_models_that_did_not_see_them(table):
    assert not surrogate(table, Memory()).f_labeled.any()


def test_every_other_labeled_row_is_seen_and_unlabeled_rows_get_the_average(table):
    f = surrogate(table, Counter(), folds=FOLDS)
    sizes = np.bincount(assign_folds(N_LABELED, FOLDS, seed=0))
    assert sorted(set(f.f_labeled)) == sorted(set(N_LABELED - sizes))
    assert_allclose(f.f_unlabeled, N_LABELED - N_LABELED / FOLDS)
    assert sizes.max() - sizes.min() <= 1


def test_a_fitted_predictor_is_cloned_and_left_alone(table):
    model = LinearRegression().fit(table[["x", "id"]], np.arange(len(table)))
    before = model.coef_.copy()
    assert_allclose(surrogate(table, model).f_labeled, surrogate(table, LinearRegression()).f_labeled)
    assert_allclose(model.coef_, before)


def test_the_batched_path_equals_the_loop(table):
    class Batched(LinearRegression):
        def predict_folds(self, X_labeled, y_labeled, folds, X_unlabeled):
            f, by_fold = np.empty(len(X_labeled)), []
            for k in range(folds.max() + 1):
                model = LinearRegression().fit(X_labeled[folds != k], y_labeled[folds != k])
                f[folds == k] = model.predict(X_labeled[folds == k])
                by_fold.append(model.predict(X_unlabeled))
            return f, np.stack(by_fold)

    batched, loop = surrogate(table, Batched()), surrogate(table, LinearRegression())
    assert_allclose(batched.f_labeled, loop.f_labeled)
    assert_allclose(batched.f_unlabeled, loop.f_unlabeled)


def test_batched_predictions_of_the_wrong_shape_are_refused(table):
    class Transposed(LinearRegression):
        def predict_folds(self, X_labeled, y_labeled, folds, X_unlabeled):
            return np.zeros(len(X_labeled)), np.zeros((len(X_unlabeled), 5))

    with pytest.raises(ValueError, match=r"shape \(80, 5\); expected .* = \(5, 80\)"):
        surrogate(table, Transposed())


def test_the_seed_decides_and_global_random_state_does_not(table):
    forest = make_pipeline(StandardScaler(), RandomForestRegressor(5))
    np.random.seed(1)  # noqa: NPY002 - the point of the test
    first = surrogate(table, forest, seed=3)
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    second = surrogate(table, forest, seed=3)
    assert np.array_equal(first.f_labeled, second.f_labeled) and np.array_equal(first.f_unlabeled, second.f_unlabeled)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert not np.array_equal(first.f_labeled, surrogate(table, forest, seed=4).f_labeled)


def test_the_surrogate_of_an_event_is_its_probability(table):
    y = (table["y"].iloc[:N_LABELED] > 0).to_numpy(float)
    f = surrogate(table, LogisticRegression(), y=y)
    assert 0 < f.f_unlabeled.min() < f.f_unlabeled.max() < 1 and len(set(f.f_labeled)) > 2
    model = LogisticRegression()
    expected = np.zeros(N_UNLABELED)
    folds = assign_folds(len(y), FOLDS, 0, strata=y)
    for k in range(FOLDS):
        model.fit(table[["x", "id"]].iloc[:N_LABELED][folds != k], y[folds != k])
        expected += model.predict_proba(table[["x", "id"]].iloc[N_LABELED:])[:, 1] / FOLDS
    assert_allclose(f.f_unlabeled, expected)


def test_classes_are_spread_evenly_over_folds():
    y = np.r_[np.ones(10), np.zeros(40)].astype(int)
    folds = assign_folds(50, 5, seed=1, strata=y)
    assert (np.bincount(folds, weights=y) == 2).all()


def test_a_fold_model_without_the_event_predicts_probability_zero(table):
    y = np.zeros(N_LABELED)
    y[7] = 1
    f = surrogate(table, RandomForestClassifier(5), y=y)
    assert f.f_labeled[7] == 0 and np.isfinite(f.f_unlabeled).all()


def test_a_classifier_without_probabilities_is_refused(table):
    class Hard(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(ValueError, match="without predict_proba"):
        surrogate(table, Hard(), y=np.resize([0.0, 1.0], N_LABELED))


def test_share_of_a_text_label_with_a_classifier(table):
    table["sign"] = np.where(table["y"].isna(), None, np.where(table["y"] > 0, "up", "down"))
    table = table.drop(columns=["y"])
    up = infer(Mean("sign", event="up"), table, predictor=LogisticRegression())
    down = infer(Mean("sign", event="down"), table, predictor=LogisticRegression())
    assert_allclose(up.estimate.iloc[0] + down.estimate.iloc[0], 1, rtol=1e-6)
    assert_allclose(up.std_error.iloc[0], down.std_error.iloc[0], rtol=1e-5)


def test_the_predictor_sees_the_named_features_and_never_the_outcome(table):
    class Spy(Counter):
        def fit(self, X, y):
            columns.append(list(X.columns))
            return super().fit(X, y)

    columns: list = []
    infer(OLS("np.exp(y) ~ x"), table, predictor=Spy())
    infer(Mean("y"), table, predictor=Spy(), features=["id"])
    assert columns == [["x", "id"]] * 5 + [["id"]] * 5


def test_a_transformed_outcome_is_predicted_on_its_own_scale(table):
    result = infer(OLS("np.exp(y) ~ x"), table, predictor=RandomForestRegressor(20))
    by_hand = infer(
        OLS("z ~ x"), table.assign(z=np.exp(table["y"])).drop(columns="y"), predictor=RandomForestRegressor(20)
    )
    assert_allclose(result.estimate, by_hand.estimate)


def test_groups_are_never_split_and_folds_stay_even():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 300)
    folds = assign_folds(300, 5, seed=1, groups=groups)
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups))
    sizes = np.bincount(folds)
    assert len(sizes) == 5 and sizes.max() - sizes.min() <= np.bincount(groups).max()
    assert not np.array_equal(folds, assign_folds(300, 5, seed=2, groups=groups))


def test_a_model_sees_no_row_of_the_clusters_it_predicts(table):
    class GroupMemory(Memory):
        def fit(self, X, y):
            self.seen_ = set(X["x"])
            return self

        def predict(self, X):
            return np.array([x in self.seen_ for x in X["x"]], dtype=float)

    groups = np.arange(N_LABELED) // 3
    table["x"] = np.r_[groups, np.zeros(N_UNLABELED)]
    assert surrogate(table, GroupMemory()).f_labeled.any()
    assert not surrogate(table, GroupMemory(), groups=groups).f_labeled.any()
    with pytest.raises(ValueError, match="with 11 clusters"):
        surrogate(table, GroupMemory(), groups=groups, folds=12)


def test_unlabeled_rows_of_a_labeled_cluster_are_predicted_without_it(table):
    class Labels(Memory):
        """Predicts whether it was fitted on a row of the same cluster."""

        def fit(self, X, y):
            self.seen_ = set(X["x"])
            return self

        def predict(self, X):
            return np.array([x in self.seen_ for x in X["x"]], dtype=float)

    groups = np.r_[np.arange(N_LABELED) // 3, np.arange(N_UNLABELED) // 5]  # the last clusters have no label
    table["x"] = groups
    f = surrogate(table, Labels(), groups=groups[:N_LABELED], groups_unlabeled=groups[N_LABELED:])
    assert not f.f_labeled.any() and not f.f_unlabeled.any()
    assert surrogate(table, Labels(), groups=groups[:N_LABELED]).f_unlabeled.any()
    counts = surrogate(table, Counter(), groups=groups[:N_LABELED], groups_unlabeled=groups[N_LABELED:])
    assert_allclose(counts.f_unlabeled[-5:], N_LABELED * (FOLDS - 1) / FOLDS)  # these are averaged over all folds


def test_indicators_of_several_classes_get_their_probabilities(table):
    code = np.digitize(table["y"].iloc[:N_LABELED], [-0.5, 0.5])
    indicators = np.eye(3)[code][:, :2]  # the third class is where both are zero
    forest = RandomForestClassifier(20)
    f = surrogate(table, forest, y=indicators)
    assert f.f_labeled.shape == (N_LABELED, 2) and f.f_unlabeled.shape == (N_UNLABELED, 2)
    assert (f.f_unlabeled.sum(axis=1) <= 1 + 1e-12).all() and f.f_unlabeled.min() >= 0
    all_three = surrogate(table, forest, y=np.eye(3)[code])
    assert_allclose(all_three.f_unlabeled.sum(axis=1), 1)
    assert_allclose(all_three.f_unlabeled[:, :2], f.f_unlabeled)
    rare = np.zeros((N_LABELED, 2))
    rare[4, 0] = rare[7:, 1] = 1
    assert surrogate(table, forest, y=rare).f_labeled[4, 0] == 0  # its fold never saw that class
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        surrogate(table, forest, y=np.ones((N_LABELED, 2)))


def test_several_outcomes_are_fitted_one_by_one(table):
    y = table["y"].iloc[:N_LABELED].to_numpy()
    both = surrogate(table, LinearRegression(), y=np.column_stack([y, y**2]))
    assert_allclose(both.f_labeled[:, 1], surrogate(table, LinearRegression(), y=y**2).f_labeled)
    assert both.f_unlabeled.shape == (N_UNLABELED, 2)


class Gaussian(LinearRegression):
    """A normal predictive distribution around a line, in the vocabulary of our own estimators."""

    def predict_distribution(self, X):
        from scipy.stats import norm

        frozen = norm(self.predict(X), 0.5)
        frozen.mean = frozen.mean()
        return frozen


def test_predictive_distributions_are_read_off_out_of_fold(table):
    y = table["y"].iloc[:N_LABELED].to_numpy()
    thresholds = quantile_thresholds(y, 0.5)
    assert (np.diff(thresholds) > 0).all() and thresholds[0] == y.min() and thresholds[-1] == y.max()
    f, points = surrogate(table, Gaussian(), thresholds=thresholds), surrogate(table, LinearRegression())
    assert f.has_distribution and not points.has_distribution
    assert_allclose(f.f_labeled, points.f_labeled)
    assert_allclose(f.f_unlabeled, points.f_unlabeled)
    from scipy.stats import norm

    t = thresholds[7]
    labeled, unlabeled = f.cdf(t)
    assert_allclose(labeled, norm(points.f_labeled, 0.5).cdf(t))  # one model each: exact at a threshold
    assert unlabeled.shape == (N_UNLABELED,)
    halfway = f.cdf((thresholds[7] + thresholds[8]) / 2)[0]
    assert_allclose(halfway, (labeled + f.cdf(thresholds[8])[0]) / 2)
    assert_allclose(f.cdf(thresholds[0] - 9)[0], f.cdf_labeled[:, 0])
    assert_allclose(f.cdf(thresholds[-1] + 9)[1], f.cdf_unlabeled[:, -1])


@pytest.mark.parametrize("predictor", [LinearRegression(), KNeighborsRegressor(1)], ids=["line", "nearest"])
def test_copies_of_a_row_share_a_fold(predictor):
    """One nearest neighbour finds the copy of a row, and with it its label, unless both are held out together."""
    rng = np.random.default_rng(0)
    X, U = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"]), pd.DataFrame(np.ones((9, 2)), columns=["a", "b"])
    y = X["a"].to_numpy() + rng.normal(size=30)
    alone = cross_fit(predictor, X, y, U, groups=np.arange(30))
    thrice = cross_fit(predictor, pd.concat([X, X, X], ignore_index=True), np.tile(y, 3), U)
    for k in (1, 2):
        assert_allclose(thrice.f_labeled[:30], thrice.f_labeled[30 * k : 30 * k + 30], rtol=1e-9)
    assert np.abs(thrice.f_labeled - np.tile(y, 3)).min() > 1e-6
    assert_allclose(np.sort(thrice.by_fold[0][:30]), np.sort(alone.by_fold[0]))
    few = X.round(0)  # alike by chance, as unlabeled rows are: rows of their own
    plain = cross_fit(predictor, few, np.round(y), U)
    assert np.bincount(plain.by_fold[0]).max() == 6
