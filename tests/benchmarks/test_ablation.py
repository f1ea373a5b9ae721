"""The harness of the ablation: a planted harm comes last, nothing is measured twice, what is not touched stays."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.ablation import ingredients, results
from benchmarks.ablation.compare import Differences
from benchmarks.ablation.ingredients import CONTROL, FULL, INGREDIENTS, PLANTED
from benchmarks.ablation.report import report
from priors import MixturePrior, TaskShape
from priors.stream import seeded_generator
from priors.table import TableEffects

SETTINGS = {"start": "scratch", "budget_tasks": 9, "batch_cells": 9, "rate_factor": 1.0, "max_cells": 9}
TABLES = [(f"t{i}", "clf" if i % 3 else "reg") for i in range(30)]
VARIANTS = [FULL, CONTROL, PLANTED, "no-scm", "drift"]
SHAPE = TaskShape(4, 24, 12, 3)


def simulated(variant: str, seed: int, harm: float = 0.05):
    """Hard and easy tables, lucky and unlucky seeds, and noise of a run: only the planted variant is worse."""
    rng = np.random.default_rng([seed, list(INGREDIENTS).index(variant)])
    loss = 0.3 + 0.02 * np.arange(len(TABLES)) + 0.03 * seed + 0.01 * rng.normal(size=len(TABLES))
    loss += harm * (variant == PLANTED)
    rows = [
        {"dataset": name, "task": task, "development": i % 2, "auc": 1 - x if task == "clf" else np.nan,
         "logloss": x if task == "clf" else np.nan, "r2": 1 - x if task == "reg" else np.nan,
         "crps": x if task == "reg" else np.nan}
        for i, ((name, task), x) in enumerate(zip(TABLES, loss))
    ]  # fmt: skip
    return {"tasks": 9, "steps": 3, "train_loss": 1.0, "cpu_s": 1.0}, pd.DataFrame(rows)


def test_the_planted_harm_comes_last_and_what_is_not_done_is_made_once(tmp_path):
    calls = []

    def measure(variant, seed, die_at=None):
        if len(calls) == die_at:
            raise KeyboardInterrupt
        calls.append((variant, seed))
        return simulated(variant, seed)

    with pytest.raises(KeyboardInterrupt):
        results.run_all(tmp_path, SETTINGS, VARIANTS, [0, 1], functools.partial(measure, die_at=7))
    # As if killed between the two files, at the last in alphabetical order: scores without their run are replaced.
    runs = pd.read_csv(tmp_path / results.RUNS)
    runs[:-1].to_csv(tmp_path / results.RUNS, index=False)
    assert set(results.complete(tmp_path)[1].variant) == {FULL, PLANTED}  # the others lack a seed
    for _ in range(2):
        results.run_all(tmp_path, SETTINGS, VARIANTS, [0, 1], measure)
    assert len(calls) == 11 and len(set(calls)) == 10
    scores = pd.read_csv(tmp_path / results.SCORES)
    assert len(scores) == 10 * len(TABLES) and not scores.duplicated(["variant", "seed", "dataset"]).any()

    table = Differences.of(scores).intervals()
    assert table.index[-1] == PLANTED and table.loc[PLANTED, "all_low"] > 0
    others = table.drop(PLANTED)
    assert ((others.low < 0) & (others.high > 0)).all()
    page = report(*results.complete(tmp_path))
    assert f"`{PLANTED}`, which was planted to do harm, is last" in page and "| 4 | all-shuffled |" in page
    with pytest.raises(ValueError, match="budget_tasks"):
        results.run_all(tmp_path, SETTINGS | {"budget_tasks": 10}, VARIANTS, [0], measure)


def test_intervals_hold_what_they_promise_under_both_kinds_of_chance():
    """Differences of one table, and of one seed over all tables: without either, intervals would be too narrow."""
    rng, misses = np.random.default_rng(0), 0
    for _ in range(60):
        values = {
            str(v): rng.normal(size=(2, 1)) + rng.normal(size=(1, 25)) + rng.normal(size=(2, 25)) for v in range(10)
        }
        table = Differences(pd.RangeIndex(25), values).intervals(n_resamples=400)
        misses += ((table.low > 0) | (table.high < 0)).sum()
    assert 0.02 < misses / 600 < 0.09


def draw(prior, seed: int):
    return prior.sample(SHAPE, seeded_generator(seed, 0))


def is_same(a, b) -> bool:
    return torch.equal(a.X.nan_to_num(), b.X.nan_to_num()) and torch.equal(a.y, b.y)


@pytest.mark.parametrize("name", INGREDIENTS)
def test_every_variant_makes_tasks_of_either_kind(name):
    for task in ("classification", "regression"):
        batch = draw(INGREDIENTS[name].build(task), 0)
        assert batch.shape == SHAPE and (batch.n_classes is None) == (task == "regression")
        if name in (FULL, CONTROL, PLANTED, "no-effects"):
            assert is_same(batch, draw(INGREDIENTS[FULL].build(task), 0)) == (name == FULL)


def test_batches_of_other_families_stay():
    full = INGREDIENTS[FULL].build("regression")
    # A quarter and half of the batches change, so that eight show both.
    more = replace(INGREDIENTS["more-families"].build("regression"), share=0.5)
    for changed in (INGREDIENTS["no-scm"].build("regression"), more):
        same = [is_same(draw(full, seed), draw(changed, seed)) for seed in range(8)]
        assert 2 <= sum(same) < 8


def test_a_family_that_the_mixture_lacks_is_refused():
    with pytest.raises(ValueError, match="'levels'"):
        draw(ingredients.WithoutFamilies(MixturePrior(), ("levels",)), 0)


def test_effects_without_nothing_are_the_effects():
    batch = draw(MixturePrior(transforms=[]), 3)
    effects = (TableEffects(), ingredients.EffectsWithout(()))
    assert is_same(*(effect(batch, seeded_generator(1)) for effect in effects))
