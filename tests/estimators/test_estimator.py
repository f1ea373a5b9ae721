"""ICLClassifier and ICLRegressor: laws that hold for any weights, here for a tiny random model."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from icl import ICLClassifier, ICLRegressor
from icl.prediction.alone import by_itself

NAMES = ["a", "b", "kind", "c"]


def make_table(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n_rows, 3)), columns=["a", "b", "c"])
    table["kind"] = rng.choice(["red", "green", "blue"], n_rows)
    table.loc[rng.random(n_rows) < 0.2, "b"] = np.nan
    return table[NAMES]


@pytest.fixture(scope="module")
def table():
    return make_table(60, seed=0)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).choice(["no", "maybe", "yes"], 60)


@pytest.fixture(scope="module")
def target(table):
    return 100 + 10 * table["a"].to_numpy() + np.random.default_rng(2).normal(size=60)


@pytest.fixture(scope="module")
def query():
    return make_table(17, seed=3)


@pytest.fixture(scope="module")
def classifier(tiny_release, table, labels):
    return ICLClassifier(tiny_release).fit(table, labels)


@pytest.fixture(scope="module")
def regressor(tiny_release, table, target):
    return ICLRegressor(tiny_release).fit(table, target)


def test_shapes_and_labels(classifier, regressor, query):
    probabilities = classifier.predict_proba(query)
    assert classifier.classes_.tolist() == ["maybe", "no", "yes"]
    assert probabilities.shape == (17, 3)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert_array_equal(classifier.predict(query), classifier.classes_[probabilities.argmax(axis=1)])
    assert regressor.predict(query).shape == (17,)
    assert regressor.predict_quantiles(query, [0.1, 0.5, 0.9]).shape == (17, 3)
    assert regressor.predict_quantiles(query, 0.5).shape == (17, 1)


def test_no_rows_get_an_empty_answer(classifier, regressor, query):
    none = query.iloc[:0]
    assert classifier.predict_proba(none).shape == (0, 3)
    assert classifier.predict(none).shape == (0,)
    assert regressor.predict(none).shape == (0,)
    assert regressor.predict_quantiles(none, [0.1, 0.9]).shape == (0, 2)
    assert regressor.predict_distribution(none).batch_shape == (0,)


def test_distribution_agrees_with_the_summaries(classifier, regressor, query):
    assert_array_equal(classifier.predict_distribution(query).probs.numpy(), classifier.predict_proba(query))
    d = regressor.predict_distribution(query)
    assert_array_equal(d.mean.numpy(), regressor.predict(query))
    assert_array_equal(d.median.numpy(), regressor.predict(query, output="median"))
    assert_array_equal(d.mode.numpy(), regressor.predict(query, output="mode"))
    quantiles = regressor.predict_quantiles(query, [0.1, 0.5, 0.9])
    assert np.all(np.diff(quantiles, axis=1) > 0)
    assert_allclose(d.cdf(torch.from_numpy(quantiles[:, 2])).numpy(), 0.9, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_same_seed_same_answer(kind, request, query, table):
    fitted = request.getfixturevalue(kind)
    y = request.getfixturevalue("labels" if kind == "classifier" else "target")
    predict = "predict_proba" if kind == "classifier" else "predict"
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = clone(fitted).fit(table, y)
    assert_array_equal(getattr(again, predict)(query), getattr(fitted, predict)(query))
    other = clone(fitted).set_params(random_state=1).fit(table, y)
    assert not np.allclose(getattr(other, predict)(query), getattr(fitted, predict)(query))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("memory_gb", [1e-7, 2e-4, 2e-3])
def test_answers_do_not_depend_on_how_they_are_batched(classifier, regressor, query, memory_gb):
    for fitted, predict in ((classifier, "predict_proba"), (regressor, "predict")):
        sparing = clone(fitted).set_params(memory_gb=memory_gb)
        vars(sparing).update({k: v for k, v in vars(fitted).items() if k != "memory_gb"})
        assert_allclose(getattr(sparing, predict)(query), getattr(fitted, predict)(query), rtol=1e-5)


def test_blocks_of_rows_are_joined(classifier, query, monkeypatch):
    whole = classifier.predict_proba(query)
    monkeypatch.setattr("icl.prediction.together.distributions.__defaults__", (5,))
    assert_allclose(classifier.predict_proba(query), whole, rtol=1e-5)


def test_a_row_gets_the_same_answer_alone(classifier, regressor, query):
    alone = np.concatenate([classifier.predict_proba(query.iloc[[i]]) for i in range(5)])
    assert_allclose(alone, classifier.predict_proba(query)[:5], rtol=1e-5)
    assert_allclose(regressor.predict(query.iloc[[3]]), regressor.predict(query)[3], rtol=1e-5)


def test_context_order_is_irrelevant(tiny_release, table, labels, classifier, query):
    order = np.random.default_rng(4).permutation(60)
    shuffled = ICLClassifier(tiny_release).fit(table.iloc[order], labels[order])
    assert_allclose(shuffled.predict_proba(query), classifier.predict_proba(query), rtol=1e-4)


def test_names_decide_not_the_order_of_columns(classifier, query):
    assert_array_equal(classifier.predict_proba(query[NAMES[::-1]]), classifier.predict_proba(query))
    assert classifier.feature_names_in_.tolist() == NAMES
    assert classifier.n_features_in_ == 4


def test_label_type_does_not_matter(tiny_release, table, labels, classifier, query):
    codes = np.searchsorted(classifier.classes_, labels)
    for y in (codes, codes.astype(float), pd.Series(labels, dtype="category"), pd.Series(codes, dtype="Int64")):
        same = ICLClassifier(tiny_release).fit(table, y)
        assert_array_equal(same.predict_proba(query), classifier.predict_proba(query))
    boolean = ICLClassifier(tiny_release).fit(table, labels == "yes")
    assert boolean.classes_.tolist() == [False, True]


@pytest.mark.parametrize(("factor", "offset"), [(1e-12, 0.0), (-3.0, 7.0), (1.0, 1e9), (1e200, 0.0)])
def test_units_of_the_target_carry_over(tiny_release, table, target, query, factor, offset):
    # The head is not symmetric about zero, so a flipped target is another question: compare with its own flip.
    sign = np.sign(factor)
    base = ICLRegressor(tiny_release).fit(table, sign * target).predict(query)
    moved = ICLRegressor(tiny_release).fit(table, factor * target + offset).predict(query)
    assert_allclose((moved - offset) / abs(factor), base, rtol=1e-5)


def test_units_of_numeric_columns_do_not_matter(tiny_release, table, target, regressor, query):
    scaled = ICLRegressor(tiny_release).fit(table.assign(a=table["a"] * 1e6 + 3), target)
    assert_allclose(scaled.predict(query.assign(a=query["a"] * 1e6 + 3)), regressor.predict(query), rtol=1e-4)


def test_one_member_is_the_model_itself(tiny_model, tiny_release, table, labels, query):
    fitted = ICLClassifier(tiny_release, n_estimators=1, companions=(), softmax_temperature=1.0).fit(table, labels)
    X_BRF = torch.from_numpy(np.concatenate([fitted._encoder.transform(table), fitted._encoder.transform(query)]))
    y_BN = torch.from_numpy(np.searchsorted(fitted.classes_, labels))
    flags_BF = torch.from_numpy(fitted._encoder.is_categorical_)
    network = by_itself(tiny_model)  # without columns of companions
    expected = network.predict_distribution(X_BRF[None], y_BN[None], flags_BF[None], n_classes=3).probs[0, :, :3]
    assert_allclose(fitted.predict_proba(query), expected.detach().numpy(), rtol=1e-5)


def test_members_are_averaged_after_undoing_their_class_slots(tiny_release, table, labels, query):
    # Each member alone, its slots undone by hand, then the mean of log-probabilities.
    fitted = ICLClassifier(tiny_release, n_estimators=3).fit(table, labels)
    members, means = fitted._members, []
    assert len({m.guise.transform for m in members}) == 3
    for member in members:
        fitted._members = [member]
        means.append(fitted.predict_proba(query))
    fitted._members = members
    pooled = np.exp(np.mean(np.log(means), axis=0))
    assert_allclose(fitted.predict_proba(query), pooled / pooled.sum(1, keepdims=True), rtol=1e-5)
    assert not np.allclose(means[0], means[1])


def test_temperature_one_is_neutral_and_higher_is_flatter(tiny_release, table, labels, query):
    def sharpest(temperature):
        fitted = ICLClassifier(tiny_release, n_estimators=1, softmax_temperature=temperature).fit(table, labels)
        return fitted.predict_proba(query).max(axis=1)

    assert np.all(sharpest(2.0) < sharpest(1.0))
    assert np.all(sharpest(0.5) > sharpest(1.0))


def test_a_model_may_stand_in_for_a_release(tiny_model, table, labels, classifier, query):
    assert_allclose(
        ICLClassifier(tiny_model).fit(table, labels).predict_proba(query), classifier.predict_proba(query), rtol=1e-5
    )


def test_pickles_small_and_keeps_its_answers(classifier, tiny_model, query):
    data = pickle.dumps(classifier)
    assert len(data) < 4 * sum(p.numel() for p in tiny_model.parameters())  # the weights are not inside
    assert_array_equal(pickle.loads(data).predict_proba(query), classifier.predict_proba(query))


def test_a_failed_fit_leaves_the_earlier_one(tiny_release, table, labels, query):
    fitted = ICLClassifier(tiny_release).fit(table, labels)
    before = fitted.predict_proba(query)
    with pytest.raises(ValueError, match="one label per row"):
        fitted.fit(table, labels[:-1])
    assert_array_equal(fitted.predict_proba(query), before)


def test_long_context_is_announced(tiny_release):
    with pytest.warns(UserWarning, match=r"201 rows.*at most 200"):
        ICLRegressor(tiny_release).fit(make_table(201, seed=0), np.arange(201.0))


@pytest.mark.parametrize("n_folds", [2, 4, 12])
def test_folds_equal_fitting_each_by_hand(tiny_release, table, target, query, n_folds):
    folds = np.random.default_rng(5).permutation(60) % n_folds + 10
    labeled, unlabeled = ICLRegressor(tiny_release, n_estimators=2).predict_folds(table, target, folds, query)
    assert labeled.shape == (60,)
    assert unlabeled.shape == (n_folds, 17)
    for k in range(min(n_folds, 4)):
        held_out = folds == k + 10
        by_hand = ICLRegressor(tiny_release, n_estimators=2).fit(table[~held_out], target[~held_out])
        assert_allclose(labeled[held_out], by_hand.predict(table[held_out]), rtol=1e-5)
        assert_allclose(unlabeled[k], by_hand.predict(query), rtol=1e-5)


def test_a_held_out_label_is_never_seen(tiny_release, table, target, query):
    folds = np.arange(60) % 3
    changed = np.where(folds == 1, target[::-1] * 5, target)
    before = ICLRegressor(tiny_release).predict_folds(table, target, folds, query)
    after = ICLRegressor(tiny_release).predict_folds(table, changed, folds, query)
    assert_array_equal(before[0][folds == 1], after[0][folds == 1])
    assert_array_equal(before[1][1], after[1][1])
    assert not np.allclose(before[1][0], after[1][0])


def test_folds_of_unequal_size_and_no_unlabeled_rows(tiny_release, table, labels):
    y = labels == "yes"
    folds = np.repeat([0, 1, 2], [10, 20, 30])
    labeled, unlabeled = ICLClassifier(tiny_release).predict_folds(table, y, folds, table.iloc[:0])
    assert unlabeled.shape == (3, 0)
    by_hand = ICLClassifier(tiny_release).fit(table[folds != 0], y[folds != 0])
    assert_allclose(labeled[:10], by_hand.predict_proba(table[:10])[:, 1], rtol=1e-5)


def test_folds_leave_the_estimator_as_it_was(classifier, table, labels, query):
    before = classifier.predict_proba(query)
    classifier.predict_folds(table, labels == "yes", np.arange(60) % 2, query)
    assert_array_equal(classifier.predict_proba(query), before)


def test_same_row_same_answer_among_thousands_and_on_any_threads(table, labels, target):
    """With real weights: alone, among two blocks of rows, on one or two threads, to 1e-6; from the fast reader too."""
    crowd = make_table(8_200, seed=8)
    chosen = [0, 4_999, 8_191, 8_192, 8_199]
    before = torch.get_num_threads()
    for fitted, predict in (
        (ICLClassifier("nano", 1), "predict_proba"),
        (ICLRegressor("nano", 1), "predict"),
        (ICLClassifier("base", 1, fast_queries=True), "predict_proba"),
        (ICLRegressor("base", 1, fast_queries=True), "predict"),
    ):
        fitted.fit(table, labels if predict == "predict_proba" else (target - 100) / 10)
        torch.set_num_threads(1)
        try:
            alone = np.concatenate([getattr(fitted, predict)(crowd.iloc[[i]]) for i in chosen])
            for n_threads in (1, 2) if predict == "predict_proba" else (2,):
                torch.set_num_threads(n_threads)
                assert_allclose(getattr(fitted, predict)(crowd)[chosen], alone, rtol=0, atol=1e-6)
        finally:
            torch.set_num_threads(before)


def test_predicting_changes_nothing_and_may_be_done_from_threads(tiny_release, table, labels, query):
    fitted = ICLClassifier(tiny_release).fit(table, labels)
    before = pickle.dumps(fitted)
    with ThreadPoolExecutor(4) as pool:  # the first predictions of all, so caches are filled at the same time
        answers = list(pool.map(fitted.predict_proba, [query.iloc[i:] for i in range(8)]))
    for i, answer in enumerate(answers):
        assert_allclose(answer, fitted.predict_proba(query)[i:], rtol=1e-5)
    assert pickle.dumps(fitted) == before


def test_every_output_of_a_distribution_is_in_units_of_the_target(regressor, query, seeded):
    d = regressor.predict_distribution(query)
    mean, spread = d.mean.numpy(), d.stddev.numpy()
    assert 60 < mean.mean() < 140  # the target is about 100, plus or minus 10
    assert 1 < spread.mean() < 60
    draws = d.sample(4_000, seeded(0)).numpy()
    assert draws.shape == (4_000, 17)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 4.5 * spread / np.sqrt(4_000))
    grid = torch.linspace(-300, 500, 20_001, dtype=torch.double)
    density = d.log_prob(grid[:, None]).exp()
    assert_allclose(torch.trapezoid(density, grid, dim=0).numpy(), 1, atol=0.01)
    below = d.cdf(torch.full((17,), 100.0, dtype=torch.double)).numpy()
    assert_allclose(below, (draws <= 100).mean(axis=0), atol=4.5 * 0.5 / np.sqrt(4_000))
    assert_allclose(d.icdf(0.5).numpy(), regressor.predict(query, output="median"))
    assert np.all((d.mode.numpy() > 40) & (d.mode.numpy() < 160))


def test_ranks_of_a_skewed_target_are_carried_back(tiny_model, tiny_release, table, query):
    """The member that sees ranks answers in the target's units: as its own cdf says, at every bin edge."""
    y = np.exp(table["a"].to_numpy() * 2)
    fitted = ICLRegressor(tiny_release, n_estimators=2, quality="fast").fit(table, y)
    member = fitted._members[1]
    assert member.guise.transform == "quantile"
    assert_allclose([member.contexts[0].y_N.mean(), member.contexts[0].y_N.std()], [0, 1], atol=1e-9)
    # Any increasing change of the target's units leaves what this member is shown as it is.
    other = ICLRegressor(tiny_release, n_estimators=2, quality="fast").fit(table, np.log(y))
    assert_allclose(other._members[1].contexts[0].y_N, member.contexts[0].y_N, atol=1e-9)
    # Where the bins of the target end: the share below, as the model itself says it on the scale of ranks.
    fitted._members = [member]
    rows = torch.from_numpy(np.concatenate([member.contexts[0].X_NF, member.views(fitted._encode_rows(query))[0]]))
    flags = torch.from_numpy(member.contexts[0].is_categorical_F)
    own = tiny_model.predict_distribution(
        rows[None], torch.from_numpy(member.contexts[0].y_N).float()[None], flags[None]
    )
    edges = fitted.predict_distribution(query).edges
    shown = torch.from_numpy(member._target(edges.numpy()))
    for edge, score in zip(edges[8:-8], shown[8:-8]):
        in_units = fitted.predict_distribution(query).cdf(fitted._loc + fitted._scale * edge).numpy()
        assert_allclose(in_units, own.cdf(score)[0].detach().numpy(), atol=1e-5)
    assert 0.02 < in_units.mean() < 0.999
