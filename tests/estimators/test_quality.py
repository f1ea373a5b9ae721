"""`quality` in one word, what is named beside it, and the blend inside cross-fitting and pickles."""

import copy
import pickle

import numpy as np
import pytest

from icl import ICLClassifier, ICLRegressor, load
from icl.estimators.identity import identity_of
from icl.estimators.quality import QUALITIES
from icl.prediction.blend import usual_temperature


def table(n=260, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = np.sign(X[:, 0]) * np.sign(X[:, 1]) + 0.1 * X[:, 2] + 0.1 * rng.normal(size=n)
    return X, y


@pytest.fixture(scope="module")
def fitted():
    X, y = table()
    return {quality: ICLRegressor("nano", quality=quality).fit(X, y) for quality in QUALITIES}


def test_a_word_sets_members_companions_and_the_blend(fitted):
    said = {q: (m.n_members_, m.companions_, m.blend_.names) for q, m in fitted.items()}
    voices = ("network", "ridge", "kernel", "trees", "boosting")
    assert said["fast"] == (1, ["ridge"], ("network",))
    assert said["default"] == (2, ["ridge", "kernel", "trees", "boosting"], voices)
    assert said["best"] == (4, ["ridge", "kernel", "trees", "boosting"], voices)
    few = ICLRegressor("nano").fit(*table(60))
    assert (few.n_members_, few.blend_.names) == (4, ("network", "ridge"))
    estimates = [m.time_estimate(1_000, 10).seconds for m in fitted.values()]
    assert estimates == sorted(estimates)


@pytest.mark.parametrize(
    ("rows", "classes", "boosts"),
    [
        (599, 2, ""),
        (600, 2, "default"),
        (600, 9, "default"),
        (250, 3, ""),
        (250, None, "default"),
        (5_000, 3, "default"),
    ],
)
def test_boosting_joins_where_it_was_found_to_pay(rows, classes, boosts):
    with_it = {word for word, quality in QUALITIES.items() if "boosting" in quality.companions(rows, classes)}
    assert with_it == {"best", *boosts.split()}
    for quality in QUALITIES.values():
        named = quality.companions(100_000, classes)
        assert len(set(named)) == len(named)


def test_what_is_named_goes_before_the_word():
    X, y = table(80)
    model = ICLRegressor("nano", quality="best", n_estimators=1, companions=("ridge",)).fit(X, y)
    assert model.n_members_ == 1 and model.blend_.names == ("network", "ridge")
    for wrong in ("good", ["fast"]):
        with pytest.raises(ValueError, match="quality must be one of 'fast', 'default', 'best', got"):
            ICLRegressor("nano", quality=wrong).fit(X, y)
    with pytest.raises(ValueError, match="n_estimators must be a whole number of at least 1 or 'auto', got 'many'"):
        ICLRegressor("nano", n_estimators="many").fit(X, y)


def test_the_blend_predicts_better_than_its_network(fitted):
    """A step in a product: what trees see at once and this network does not."""
    X, y = table(400, seed=1)
    model = fitted["default"]
    assert model.blend_.shares[0] < 0.7 and sum(model.blend_.shares) == pytest.approx(1)
    alone = ICLRegressor("nano", n_estimators=2, companions=()).fit(*table())
    error = [np.mean((one.predict(X) - y) ** 2) for one in (model, alone)]
    assert error[0] < 0.8 * error[1]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[:20]), model.predict(X[:20]))
    assert len(pickle.dumps(model)) < 200_000  # no trees in it


@pytest.mark.parametrize(("rows", "more"), [(599, 1), (600, 3), (5_000, 3), (5_001, 1)])
def test_more_is_held_out_of_classes_where_it_was_found_to_pay(rows, more):
    assert [QUALITIES[word].n_passes(rows, 4) for word in ("fast", "default", "best")] == [0, more, 4]
    assert QUALITIES["default"].n_passes(rows, None) == 1


@pytest.mark.parametrize("quality", ["fast", "default"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_are_as_sure_as_what_was_held_out_says(quality, n_classes):
    """The average of the members to a power, which a number that is given sets instead; the labels stay the same."""
    X, y = table()
    labels = np.digitize(y, [0.0, 1.0][: n_classes - 1])
    as_it_is, auto = (
        ICLClassifier("nano", quality=quality, softmax_temperature=t).fit(X, labels) for t in (1.0, "auto")
    )
    usual = usual_temperature(n_classes)
    assert as_it_is.temperature_ == 1.0
    assert auto.temperature_ == (usual if quality == "fast" else pytest.approx(usual, rel=0.15))
    plain, surer = (m.predict_distribution(X[:50]).log_probs.numpy() for m in (as_it_is, auto))
    powered = plain / auto.temperature_
    np.testing.assert_allclose(surer, powered - np.logaddexp.reduce(powered, 1)[:, None], atol=1e-4)
    assert as_it_is.blend_ == auto.blend_
    with pytest.raises(ValueError, match="softmax_temperature must be a positive number or 'auto', got 'cold'"):
        ICLClassifier("nano", softmax_temperature="cold").fit(X, labels)


def test_numbers_without_voices_and_classes_of_tuned_networks_are_as_sure_as_they_say():
    X, y = table(120)
    sure = {words: ICLRegressor("nano", companions=words).fit(X, y).temperature_ for words in ((), "auto")}
    assert sure == {(): 1.0, "auto": 0.9}
    mixed = ICLRegressor("nano").fit(X, y)
    mixed._tuned = mixed._released()  # the voices are as wide beside it
    assert mixed._sureness()[0] == 0.9
    model = ICLClassifier("nano").fit(X, (y > 0).astype(int))
    model._tuned = model._released()
    assert model._sureness()[0] == 1.0 != model.temperature_


def _with_offsets(model, offsets):
    other = copy.copy(model)
    other._offsets_C = offsets
    return other


def test_offsets_of_classes_come_from_many_rows_and_are_kept(tmp_path):
    X, y = table(600)
    labels = np.digitize(y, [0.0, 1.0])
    model, plain = (
        ICLClassifier("nano", softmax_temperature=t, companions=("trees",)).fit(X, labels) for t in ("auto", 1.0)
    )
    offsets = np.array(model.blend_.offsets)
    assert offsets.shape == (3,) and 1e-3 < np.abs(offsets).max() < 1
    logs = plain.predict_distribution(X[:30]).log_probs.numpy() / model.temperature_ + offsets
    said = model.predict_distribution(X[:30]).log_probs.numpy()
    np.testing.assert_allclose(said, logs - np.logaddexp.reduce(logs, 1)[:, None], atol=1e-4)
    for again in (pickle.loads(pickle.dumps(model)), load(model.save(tmp_path / "model"))):
        np.testing.assert_array_equal(again.predict_proba(X[:30]), model.predict_proba(X[:30]))
    # What rounds to nothing has no sign, which may differ between devices.
    known = identity_of(model)
    nothing = 0.003 * offsets
    assert identity_of(_with_offsets(model, nothing)) == identity_of(_with_offsets(model, -nothing)) != known
    assert identity_of(_with_offsets(model, offsets)) == known != identity_of(_with_offsets(model, -offsets))
    # One member that is asked for goes with one pass, whose rows say too little about each class.
    one = ICLClassifier("nano", n_estimators=1, companions=("trees",)).fit(X, labels)
    assert not any(one.blend_.offsets) and one._plan.n_held_out == 1


@pytest.mark.parametrize("kind", [ICLRegressor, ICLClassifier])
def test_labels_of_a_fold_reach_no_share_that_answers_for_it(kind):
    X, y = table(150)
    y = y if kind is ICLRegressor else (y > 0).astype(int)
    folds = np.arange(150) % 3
    other = np.where(folds == 0, y[::-1], y)
    model = kind("nano", n_estimators=1, companions=("trees",))
    first, second = (model.predict_folds(X, labels, folds, X[:5])[0] for labels in (y, other))
    np.testing.assert_array_equal(first[folds == 0], second[folds == 0])
    assert np.abs(first[folds != 0] - second[folds != 0]).max() > 1e-4


def test_weights_and_copies_choose_alike():
    """Rows repeated are held out together, so that copies give no voice away; whole-number weights are copies."""
    X, y = table(120)
    labels = (y > 0).astype(int)
    counts = np.arange(120) % 2 + 1
    model = ICLClassifier("nano", n_estimators=1, companions=("trees",))
    weighted = model.fit(X, labels, sample_weight=counts).blend_
    repeated = model.fit(np.repeat(X, counts, 0), np.repeat(labels, counts)).blend_
    assert weighted == repeated and 0 < weighted.shares[1] < 1
