"""Members: what each sees of a table, and that tables beyond a checkpoint's limits keep honest answers."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss

from icl import ICLClassifier, ICLRegressor, OutOfPriorWarning
from icl.prediction.guise import Limits, draw_guises
from icl.prediction.hierarchy import class_questions, similar_order
from icl.prediction.relevance import relevance


def guises(limits: Limits, context_NF, y_N, n_classes=None, n_members=4, n_levels_F=None, seed=0):
    n_levels_F = np.zeros(context_NF.shape[1], dtype=int) if n_levels_F is None else n_levels_F
    return draw_guises(n_members, seed, limits, n_levels_F, context_NF, y_N, n_classes)


@pytest.mark.parametrize(("n_classes", "limit"), [(2, 10), (10, 10), (11, 10), (26, 10), (7, 2), (1000, 10), (37, 3)])
def test_questions_tell_every_class_apart(n_classes, limit):
    order = np.random.default_rng(0).permutation(n_classes)
    questions_QC = class_questions(order, limit)
    for answers in questions_QC:
        asked = np.unique(answers[answers >= 0])
        assert 2 <= len(asked) <= limit
        assert_array_equal(asked, np.arange(len(asked)))  # no slot is left out
    paths = {tuple(column) for column in questions_QC.T}
    assert len(paths) == n_classes
    # Deep enough and no deeper: a path is as long as a balanced tree's.
    assert (questions_QC >= 0).sum(axis=0).max() <= np.ceil(np.log(n_classes) / np.log(limit) - 1e-9) + 1
    assert np.all(questions_QC[0] >= 0)


def test_similar_classes_share_a_question():
    rng = np.random.default_rng(0)
    centers = np.repeat(np.arange(5.0), 4) * 10 + rng.normal(size=20)  # five heaps of four classes
    y_N = np.repeat(np.arange(20), 6)
    context = (centers[y_N] + 0.1 * rng.normal(size=120))[:, None]
    context[::7] = np.nan
    order = similar_order(context, y_N, 20, rng)
    assert sorted(order) == list(range(20))
    jumps = np.abs(np.diff(centers[order])) > 5
    assert jumps.sum() <= 5  # 4 if the first class lies at the end of its heap's side


def test_chain_rule(tiny_model):
    """Probabilities of 12 classes are products of the model's own answers along the tree, worked out here by hand."""
    rng = np.random.default_rng(0)
    X, y, query = rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 12, rng.normal(size=(9, 3))
    fitted = ICLClassifier(tiny_model, n_estimators=1, softmax_temperature=1.0).fit(X, y)
    rows = torch.from_numpy(fitted._encoder.transform(query))
    context = torch.from_numpy(fitted._encoder.transform(X))
    expected = np.ones((9, 12))
    questions = fitted._members[0].guise.answers
    assert len(questions) == 6  # five groups, each of two or three classes
    for answers in questions:
        inside = answers[y] >= 0
        table = torch.cat([context[torch.from_numpy(inside)], rows])[None]
        labels = torch.from_numpy(answers[y][inside])[None]
        probs = (
            tiny_model.predict_distribution(table, labels, n_classes=int(answers.max()) + 1).probs[0].detach().numpy()
        )
        for c in np.flatnonzero(answers >= 0):
            expected[:, c] *= probs[:, answers[c]]
    got = fitted.predict_proba(query)
    assert_allclose(got, expected, rtol=1e-5)
    assert_allclose(got.sum(axis=1), 1, rtol=1e-9)


def clouds(n_classes: int, per_class: int, seed: int):
    rng = np.random.default_rng(seed)
    centers, turn = 1.6 * rng.normal(size=(n_classes, 6)), rng.normal(size=(6, 6))
    y = np.r_[np.repeat(np.arange(n_classes), per_class), rng.integers(0, n_classes, 300)]
    X = (centers[y] + rng.normal(size=(len(y), 6))) @ turn
    n = n_classes * per_class
    return X[:n], y[:n], X[n:], y[n:]


def test_many_classes_beat_a_forest_and_are_calibrated():
    X, y, query, truth = clouds(26, 14, seed=0)
    letters = np.array([chr(97 + c) for c in range(26)])
    fitted = ICLClassifier("nano", n_estimators=1, calibrate=True).fit(X, letters[y])
    assert fitted.classes_.tolist() == letters.tolist()
    probs = fitted.predict_proba(query)
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(X, y).predict_proba(query)
    assert log_loss(truth, probs) < log_loss(truth, forest) - 0.1
    # Two-sided: the mean confidence is the accuracy, within four standard errors.
    hit, confidence = probs.argmax(axis=1) == truth, probs.max(axis=1)
    assert abs(hit.mean() - confidence.mean()) < 4 * np.sqrt(np.mean(confidence * (1 - confidence)) / len(truth)) + 0.03


def test_relevance_ranks_what_matters():
    rng = np.random.default_rng(0)
    n = 400
    line, bowl, noise = rng.normal(size=(3, n))
    kinds = rng.integers(0, 5, n).astype(float)
    y = line + (bowl**2 - 1) + 1.5 * (kinds == 2) + 0.3 * rng.normal(size=n)
    gaps = np.where(y > 1, np.nan, noise)
    context = np.c_[line, bowl, kinds, noise, gaps, np.exp(3 * line)]
    is_categorical = np.array([False, False, True, False, False, False])
    score = relevance(context, is_categorical, y, None)
    assert np.all(score[[0, 1, 2, 4]] > 0.05)  # a line, a curve, a category, a cell that is missing where y is high
    assert abs(score[3]) < 0.04
    assert score[5] == pytest.approx(score[0], abs=1e-12)  # monotone units do not matter
    by_class = relevance(context, is_categorical, (y > 0).astype(int), 2)
    assert np.all(by_class[[0, 1, 2, 4]] > 0.03) and abs(by_class[3]) < 0.04
    null = relevance(rng.normal(size=(n, 200)), np.zeros(200, bool), y, None)
    assert abs(null.mean()) < 4 * null.std() / np.sqrt(200)  # unbiased: about 0 for columns that tell nothing


def test_columns_are_shared_out():
    rng = np.random.default_rng(0)
    context = rng.normal(size=(120, 500))
    y = context[:, 490:496].sum(axis=1)
    members = guises(Limits(100, 10, 10_000), context, y, n_members=9)
    shown = [set(g.columns.tolist()) for g in members]
    assert all(len(s) == len(g.columns) == 100 for s, g in zip(shown, members))
    assert all(set(range(490, 496)) <= s for s in shown)  # what matters is in every member
    assert set.union(*shown) == set(range(500))  # and with nine members every column is in some
    again = guises(Limits(100, 10, 10_000), context, y, n_members=9)
    assert all(np.array_equal(a.columns, b.columns) for a, b in zip(members, again))


@pytest.mark.parametrize("n_classes", [None, 3])
def test_rows_are_shared_out_in_proportion(n_classes):
    rng = np.random.default_rng(0)
    y = rng.normal(size=2_000) if n_classes is None else np.repeat([0, 1, 2], [1_980, 15, 5])
    members = guises(Limits(20, 5, 400), rng.normal(size=(2_000, 2)), y, n_classes, n_members=5)
    for guise in members:
        assert len(np.unique(guise.rows)) == len(guise.rows)
        assert 380 <= len(guise.rows) <= 402
        if n_classes is None:
            assert abs(np.mean(y[guise.rows] < np.quantile(y, 0.1)) - 0.1) < 0.01
        else:
            assert_array_equal(np.bincount(y[guise.rows]), [396, 3, 1])
    covered = len(np.unique(np.concatenate([g.rows for g in members])))
    assert covered >= 1_900  # five members of 400 see nearly all of 2,000
    assert guises(Limits(20, 5, 2_000), rng.normal(size=(2_000, 2)), y, n_classes)[0].rows is None


def test_wide_tables_are_answered_and_announced(tiny_release):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(50, 60))).add_prefix("c").assign(kind=rng.choice(["a", "b"], 50))
    with pytest.warns(UserWarning, match=r"61 usable columns.*takes 20 at a time.*4 members.*raise n_estimators"):
        fitted = ICLRegressor(tiny_release).fit(X, X["c7"] + X["c8"])
    assert np.isfinite(fitted.predict(X)).all()
    assert_allclose(fitted.predict(X[X.columns[::-1]]), fitted.predict(X), rtol=1e-12)


def test_long_contexts_are_sampled_and_announced(tiny_release):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    with pytest.warns(UserWarning, match=r"300 rows.*each of the [24] members sees 150.*Raise max_rows"):
        fitted = ICLClassifier(tiny_release, max_rows=150, companions=()).fit(X, y)
    assert {len(m.contexts[0].y_N) for m in fitted._members} <= {148, 149, 150}
    assert fitted.predict_proba(X).shape == (300, 3)
    # All rows fit: the answer is that of the whole context.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the context has", category=UserWarning)
        whole, same = (ICLClassifier(tiny_release, max_rows=n).fit(X, y).predict_proba(X[:5]) for n in (300, 10_000))
    assert_array_equal(whole, same)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_calibration_repairs_a_wrong_temperature(task):
    """On a table of known noise: about the score of the best temperature, whatever `softmax_temperature` says."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(450, 3))
    score = X @ [1.0, -1.0, 0.5]
    if task == "classification":
        y, Estimator = (rng.random(450) < 1 / (1 + np.exp(-score))).astype(int), ICLClassifier
    else:
        y, Estimator = score + rng.normal(size=450), ICLRegressor
    context, query = slice(0, 150), slice(150, 450)

    def loss(**options):
        fitted = Estimator("nano", n_estimators=1, **options).fit(X[context], y[context])
        d = fitted.predict_distribution(X[query])
        return -float(d.log_prob(torch.from_numpy(y[query])).mean()), fitted.temperature_

    best = min(loss(softmax_temperature=t)[0] for t in (1.0, 1.4, 2.0))
    repaired, temperature = loss(softmax_temperature=1 / 3, calibrate=True)
    assert repaired < best + 0.04
    assert repaired < loss(softmax_temperature=1 / 3)[0] - 0.02
    assert 0.5 < temperature < 2
    assert loss(calibrate=True) == (repaired, temperature)


def test_calibration_survives_tiny_and_odd_contexts(tiny_release):
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfPriorWarning)
        for y in ([0, 1], [0, 1, 1], [0, 0, 0, 0, 1], ["a", "b", "c", "d", "e", "f"], np.arange(24) % 8):
            X = rng.normal(size=(len(y), 2))
            fitted = ICLClassifier(tiny_release, calibrate=True).fit(X, y)
            assert 0.25 <= fitted.temperature_ <= 4
            assert np.isfinite(fitted.predict_proba(X)).all()
        for y in ([0.0, 1.0], [0, 0, 0, 0, 1], [1e300, 0, -1e300, 5]):
            X = rng.normal(size=(len(y), 2))
            fitted = ICLRegressor(tiny_release, calibrate=True).fit(X, y)
            assert 0.25 <= fitted.temperature_ <= 4
            assert np.isfinite(fitted.predict(X)).all()
