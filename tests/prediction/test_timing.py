"""Seconds that are foreseen: right to a factor of two in processor time, which other processes leave alone."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from icl import ICLClassifier, ICLRegressor
from icl.estimators import timed
from icl.estimators.plan import Plan, within
from icl.estimators.timed import LongWorkWarning
from icl.inference import Mean, infer
from icl.network.config import TabularConfig
from icl.prediction.timing import Pace, Seconds, Work, expected, pace_of
from icl.releases.folder import load_release

CONFIG = TabularConfig()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table(n_rows, n_columns, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns))
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)


def work(**changes):
    sizes = {
        "n_rows": 800, "n_features": 10, "n_classes": 2, "n_queries": 100, "n_members": 2, "n_shown": 10_000,
        "n_made": 0, "companions": (), "apart": False,
    }  # fmt: skip
    return Work(**{**sizes, **changes})


@pytest.mark.parametrize("shape", [(600, 8, 300), (300, 30, 600)])
def test_the_network_takes_what_was_foreseen(one_thread, shape):
    n_rows, n_columns, n_queries = shape
    X, y = table(n_rows + n_queries, n_columns)
    ratios = []
    for _ in range(3):  # others may slow either side, by caches and clocks: the middle one
        pace = pace_of(load_release("nano", "cpu"), time.process_time)
        sizes = work(n_rows=n_rows, n_features=n_columns, n_queries=n_queries)
        foreseen = expected(sizes, load_release("nano", "cpu").config, pace)
        start = time.process_time()
        ICLClassifier("nano", n_estimators=2, companions=()).fit(X[:n_rows], y[:n_rows]).predict_proba(X[n_rows:])
        ratios.append((time.process_time() - start) / foreseen.total)
        if sum(0.5 < ratio < 2 for ratio in ratios) == 2:  # a third would leave the middle one there
            break
    assert 0.5 < np.median(ratios) < 2


def test_more_work_takes_longer():
    pace = Pace(1e-11, 1.0, 1)
    seconds = lambda **changes: expected(work(**changes), CONFIG, pace).total
    base = seconds()
    assert seconds(n_members=4) == pytest.approx(2 * base, rel=0.1)
    assert seconds(n_rows=1600) > 1.8 * base
    assert seconds(n_queries=2000) > 2 * base
    assert seconds(companions=("trees",)) > seconds(companions=("trees",), apart=True, n_shown=400)
    assert seconds(n_classes=30) > 1.5 * base  # a tree of questions
    assert expected(work(), CONFIG, Pace(1e-11, 1.0, 2)).network == pytest.approx(
        expected(work(), CONFIG, pace).network / 2
    )


def test_a_budget_is_kept_by_giving_up_what_costs_most():
    full = Plan(4, ("ridge", "kernel", "trees"), 10_000, 4)
    seconds_of = lambda w: expected(w, CONFIG, Pace(1e-10, 1.0, 1))
    size = (4_000, 20, 2, 1_000)
    before = seconds_of(full.work(*size, CONFIG.max_features)).total
    assert within(full, 2 * before, size, seconds_of, CONFIG) == full
    last = full
    for budget in (before / 3, before / 10, before / 60):
        plan = within(full, budget, size, seconds_of, CONFIG)
        assert seconds_of(plan.work(*size, CONFIG.max_features)).total <= budget
        assert plan.n_members <= last.n_members and plan.n_rows <= last.n_rows and plan.left_out
        last = plan
    assert last.n_members == 1
    assert any("members" in said for said in last.left_out)
    least = within(full, 1e-9, size, seconds_of, CONFIG)
    assert (least.n_members, least.companions, least.n_rows) == (1, (), 250)


def test_passes_that_weigh_companions_are_the_first_to_be_left_out():
    full = Plan(2, ("ridge", "trees"), 10_000, 2, 3)
    seconds_of = lambda w: expected(w, CONFIG, Pace(1e-10, 1.0, 1))
    size = (800, 10, 3, 100)
    before, without = (seconds_of(replace(full, n_held_out=n).work(*size, CONFIG.max_features)).total for n in (3, 1))
    assert without < before
    plan = within(full, (before + without) / 2, size, seconds_of, CONFIG)
    assert (plan.n_held_out, plan.n_members) == (1, 2)
    assert plan.left_out == ("2 of 3 passes that weigh companions",)
    fewer = within(full, without / 2, size, seconds_of, CONFIG)
    assert fewer.n_held_out == 1 == fewer.n_members
    silent = within(replace(full, companions=("ridge",)), 1e-9, size, seconds_of, CONFIG)
    assert not any("passes" in said for said in silent.left_out)  # of classes ridge has no voice


def test_companions_of_a_long_context_learn_from_fewer_rows_before_they_are_left_out():
    full = Plan(2, ("boosting", "trees"), 2_500, 2)
    seconds_of = lambda w: expected(w, CONFIG, Pace(2e-11, 1.0, 1))
    size = (50_000, 200, 2, 1_000)
    plan = within(full, 15.0, size, seconds_of, CONFIG)
    assert seconds_of(plan.work(*size, CONFIG.max_features)).total <= 15
    assert plan.companions == full.companions and 2_500 <= plan.n_learnt < 47_500
    assert any(f"all but {plan.n_learnt:,} rows before the companions" in said for said in plan.left_out)


def test_an_estimator_keeps_its_budget_and_says_what_it_left_out(monkeypatch):
    """With a pace that is given: a slow machine leaves out more."""
    X, y = table(700, 6)
    monkeypatch.setattr(timed, "pace_here", lambda model: Pace(1e-9, 1.0, 1))
    model = ICLClassifier("nano", time_budget=(8.0, 50))
    estimate = model.time_estimate(700, 6)
    assert estimate.seconds <= 8 and estimate.n_queries == 50 and "8" not in estimate.left_out
    model.fit(X, y)
    assert model.left_out_ == list(estimate.left_out) != []
    assert len(model._members) < 4
    assert model.predict_proba(X[:5]).shape == (5, 2)
    # Folds are planned as the whole was.
    assert model.predict_set(X[:5], 0.8, method="split").shape == (5, 2)
    [part] = [p for c in model._calibrations.values() for p in c.parts.models]
    assert part._plan.n_held_out == model._plan.n_held_out == 1
    assert part.time_budget is None and len(part._members) == len(model._members)
    assert ICLClassifier("nano").fit(X[:100], y[:100]).left_out_ == []


def test_sizes_that_no_table_has_are_refused():
    model = ICLClassifier("nano")
    for sizes in ({"n_rows": 0}, {"n_rows": 2.5}, {"n_columns": -1}, {"n_queries": 0}, {"n_classes": True}):
        with pytest.raises(ValueError, match=f"{next(iter(sizes))} must be a whole number from 1 to"):
            model.time_estimate(**({"n_rows": 100, "n_columns": 3} | sizes))
    assert model.time_estimate(100, np.int64(3), n_queries=2_000_000_000).n_queries == 2_000_000_000
    with pytest.raises(ValueError, match="quality must be one of"):
        ICLClassifier("nano", quality="swift").time_estimate(100, 3)


def test_parts_of_what_had_time_enough_are_those_of_no_budget(monkeypatch):
    X, y = table(800, 3)
    monkeypatch.setattr(timed, "pace_here", lambda model: Pace(1e-12, 1e-3, 1))
    sets, plans = [], []
    for budget in (None, 1_000.0):
        model = ICLClassifier("nano", companions=("trees",), time_budget=budget).fit(X, y)
        sets.append(model.predict_set(X[:20], 0.8, method="split"))
        [part] = [p for c in model._calibrations.values() for p in c.parts.models]
        plans.append((part._plan.n_members, part._plan.n_held_out, part.temperature_))
        assert model.left_out_ == [] and model._plan.n_held_out == 3
    assert plans[0] == plans[1]
    np.testing.assert_array_equal(*sets)


def test_what_takes_long_says_so(monkeypatch):
    X, y = table(300, 4)
    monkeypatch.setattr(timed, "_LONG", 1e-3)
    with pytest.warns(LongWorkWarning, match="will take about .* here; time_budget"):
        ICLRegressor("nano", n_estimators=1, companions=()).fit(X[:60], X[:60, 0])
    monkeypatch.setattr(timed, "pace_here", lambda model: Pace(1e-6, 1.0, 1))
    with pytest.warns(LongWorkWarning, match="time_budget: 0.* s are left for this table.*members"):
        ICLClassifier("nano", time_budget=0.01).fit(X, y)


@pytest.mark.parametrize("seconds", [0.05, 0.01])
def test_folds_say_once_that_their_budget_is_short(seconds):
    """With the budget that was given, of which each has its part."""
    X, _ = table(80, 5)
    rows = pd.DataFrame(X, columns=list("abcde")).assign(y=np.where(np.arange(80) % 2, X[:, 0], np.nan))
    with pytest.warns(LongWorkWarning) as told:
        infer(Mean("y"), rows, predictor=ICLRegressor("nano", time_budget=seconds, companions=()))
    [said] = [str(each.message) for each in told if each.category is LongWorkWarning]
    assert f"one of 5 fits that share {seconds:g} s; it takes about" in said


@pytest.mark.parametrize("budget", [0, -1.0, "60", (60,), (60, 0), float("inf")])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(ValueError, match="time_budget must be seconds"):
        ICLClassifier("nano", time_budget=budget).fit(*table(40, 3))


def test_seconds_add_up():
    assert Seconds(1.0, 2.0, 0.5).total == 3.5 and Seconds(1.0, 2.0, 0.5).times(2).total == 6.5
